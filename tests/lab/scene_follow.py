# SPDX-License-Identifier: MIT
"""The panel gets another mode while a guest runs: the guest hears of it (config interrupt, EDID) and follows, hidden as well as shown."""

from lab.rayvm import Rayvm, guest_files, is_ui, tiny

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 2048, "size": (1024, 768)}
state = {}


def setup(machine):
    files = guest_files("make-tiny")
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-a", "quiet loglevel=3"])
    state["rayvm"].ready()
    state["rayvm"].wait("scanout", 120)


def _follows(machine, width, height):
    rayvm = state["rayvm"]

    def sizes():
        status = rayvm.status()
        outputs = [(output["width"], output["height"]) for output in status["outputs"]]
        return outputs == [(width, height)] and (status["scanout"]["width"], status["scanout"]["height"]) == (width, height)

    machine.wait_for(sizes, 60, f"panel and guest at {width}x{height}: {rayvm.status()}", interval=0.5)


def test_hidden_guest_follows(machine):
    _follows(machine, 1024, 768)
    machine.resize_head(0, 1440, 900)
    _follows(machine, 1440, 900)
    ui = machine.wait_screen(is_ui, 20, "the UI in the new mode")
    assert ui.size == (1440, 900), ui.size
    machine.press("KEY_GRAVE")
    picture = machine.wait_screen(tiny, 20, "the guest's picture in the new mode")
    picture.save(machine.results / "follow-hidden.png")
    assert picture.size == (1440, 900), picture.size
    assert picture.pixel(0, 0) != (0, 0, 0), "a bar: the guest did not follow"


def test_shown_guest_follows(machine):
    machine.resize_head(0, 1280, 720)
    _follows(machine, 1280, 720)
    picture = machine.wait_screen(lambda seen: seen.size == (1280, 720) and tiny(seen), 20, "the guest's picture in the newest mode")
    picture.save(machine.results / "follow-shown.png")
    assert state["rayvm"].quit() == 0
