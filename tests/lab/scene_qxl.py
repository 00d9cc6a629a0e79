# SPDX-License-Identifier: MIT
"""qxl: a short run of the pattern on a card that has its own memory, refuses the guest's pages and accepts scaling it cannot do."""

from lab.rayvm import Rayvm, console_state, is_pattern, is_ui, synthetic

DISPLAYS = ("qxl",)
SUITE = "all"       # one more boot of L1, and what it shows of rayvm bochs-display shows, too
MACHINE = {"memory": 1536}
state = {}


def test_faces_to_the_pixel_and_toggles(machine):
    rayvm = state["rayvm"] = Rayvm(machine, ["--features", "dev_scanout"])
    rayvm.ready().save(machine.results / "ui.png")
    assert "qxl, " in rayvm.job.log_text(), rayvm.job.log_text()
    modesets = rayvm.stats()["modesets"]
    for _ in range(10):
        machine.press("KEY_GRAVE")
        machine.wait_screen(is_pattern, 10, "the pattern")
        machine.press("KEY_GRAVE")
        machine.wait_screen(is_ui, 10, "the UI")
    assert rayvm.stats()["modesets"] == modesets and len(rayvm.presentations()) == 20, rayvm.presentations()


def test_pattern_moves(machine):
    machine.press("KEY_F11")
    first = machine.wait_screen(is_pattern, 10, "the pattern")
    first.save(machine.results / "guest.png")
    machine.wait_screen(lambda picture: is_pattern(picture) and synthetic(picture) != synthetic(first), 10, "a later frame")
    status = state["rayvm"].status()
    assert status["path"] == "copy" and status["outputs"][0]["width"] == first.width, status


def test_another_terminal_and_back(machine):
    rayvm = state["rayvm"]
    for key, accept in (("KEY_F11", is_pattern), ("KEY_F12", is_ui)):
        machine.press(key)
        machine.wait_screen(accept, 10, "the face")
        rayvm.chvt(2)
        machine.wait_screen(lambda picture: not is_ui(picture) and not is_pattern(picture), 20, "the text terminal")
        rayvm.chvt(1)
        machine.wait_screen(accept, 20, "the face again")
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    assert console_state(machine)[0], "text mode came back"
