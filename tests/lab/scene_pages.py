# SPDX-License-Identifier: MIT
"""The guest's own pages on the screen, on a card that takes them: exact pixels, no byte copied, toggles as ever; and a guest that does not fit is copied."""

import time

from lab.rayvm import Rayvm, guest_files, is_ui, tiny

DISPLAYS = ("cirrus-vga",)      # its driver takes memory of others; virtio-gpu's and bochs' do not
MACHINE = {"memory": 2048}
state = {}


def start(machine, append):
    files = guest_files("make-tiny")
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-a", f"quiet loglevel=3 {append}"])
    state["rayvm"].ready()
    state["rayvm"].wait("scanout", 120)


def setup(machine):
    start(machine, "tiny.flip=1 tiny.fps=10")


def shown(machine):
    machine.press("KEY_F11")
    return tiny(machine.wait_screen(tiny, 30, "the guest's picture"))


def test_verdict_is_logged_once(machine):
    assert state["rayvm"].job.log_text().count("zero-copy: ") == 1, state["rayvm"].job.log_text()
    assert "zero-copy: the guest's own pages" in state["rayvm"].job.log_text()


def test_flipping_guest_is_shown_without_a_copy(machine):
    rayvm = state["rayvm"]
    first = shown(machine).counter
    before = rayvm.stats()
    time.sleep(3)
    picture = machine.wait_screen(tiny, 30, "the guest's picture")
    picture.save(machine.results / "pages.png")
    after = rayvm.stats()
    assert tiny(picture).counter > first, "the picture stands still"
    assert after["frames_presented"] > before["frames_presented"] + 5, (before, after)
    assert after["bytes_copied"] == before["bytes_copied"] == 0, (before, after)
    assert rayvm.status()["path"] == "zero-copy", rayvm.status()


def test_no_frame_is_mixed(machine):
    """Each picture is one frame: the counter at its top is the one at its foot (tinypic checks that)."""
    for _ in range(10):
        machine.wait_screen(tiny, 10, "a whole picture")


def test_toggles(machine):
    """Faces are told apart to the pixel each time; nothing is copied and no mode is set for it."""
    rayvm = state["rayvm"]
    for _ in range(5):
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 10, "the UI").save(machine.results / "ui.png")
        machine.press("KEY_GRAVE")
        machine.wait_screen(tiny, 10, "the guest's picture")
    assert rayvm.stats()["bytes_copied"] == 0
    assert rayvm.stats()["modesets"] == 1


def test_one_buffer_with_damage(machine):
    """Like a text console: one buffer, drawn into while it is shown, small rectangles."""
    assert state["rayvm"].quit() == 0
    start(machine, "tiny.fps=5")
    rayvm = state["rayvm"]
    first = shown(machine).counter
    machine.wait_screen(lambda p: tiny(p) and tiny(p).counter > first + 5, 30, "later frames")
    assert rayvm.stats()["bytes_copied"] == 0
    assert rayvm.status()["path"] == "zero-copy"


def test_pointer_picture_is_copied(machine):
    """A pointer of the guest's is blended in on the way: there is no way without a copy then."""
    assert state["rayvm"].quit() == 0
    start(machine, "tiny.fps=5 tiny.cursor=1")
    shown(machine)
    rayvm = state["rayvm"]
    machine.wait_for(lambda: rayvm.status()["path"] == "copy", 10, "the copy")
    assert rayvm.stats()["bytes_copied"] > 0
    assert rayvm.quit() == 0
