# SPDX-License-Identifier: MIT
"""A guest that chose another mode than the panel's: its picture is centred, in proportion, on black."""

from lab.rayvm import Rayvm, guest_files, is_ui, tiny, tinypic

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 2048}
GUEST = (1024, 768)
state = {}


def setup(machine):
    files = guest_files("make-tiny")
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1",
                                     "-a", "quiet loglevel=3 tiny.mode=%dx%d" % GUEST])
    state["rayvm"].ready()


def test_smaller_guest_is_centred_on_black(machine):
    rayvm = state["rayvm"]
    rayvm.wait("scanout", 120)
    machine.press("KEY_GRAVE")
    picture = machine.wait_screen(tiny, 30, "the guest's picture")
    picture.save(machine.results / "letterbox.png")
    scanout = rayvm.status()["scanout"]
    assert (scanout["width"], scanout["height"]) == GUEST, scanout
    width, height = picture.size
    left, top = (width - GUEST[0]) // 2, (height - GUEST[1]) // 2
    assert tinypic.find(tinypic.Picture(width, height, picture.data)) == (left, top, *GUEST)
    for x, y in ((0, 0), (left - 1, height // 2), (left + GUEST[0], height // 2), (width // 2, top - 1), (width - 1, height - 1)):
        assert picture.pixel(x, y) == (0, 0, 0), (x, y, picture.pixel(x, y))


def test_no_mode_was_set_and_the_ui_returns_whole(machine):
    """U-10: the panel keeps its mode; the UI's buffer knows nothing of the guest's size."""
    rayvm = state["rayvm"]
    assert rayvm.stats()["modesets"] == 1
    machine.press("KEY_GRAVE")
    machine.wait_screen(is_ui, 20, "the UI")
    assert rayvm.quit() == 0
