# SPDX-License-Identifier: MIT
"""Weston on two monitors (--outputs extend): each has a panel of the desktop's own, a monitor that goes takes nothing else with it, and the UI is on the first alone."""

from lab import desktop
from lab.desktop import clock, has_terminal, is_weston
from lab.picture import Picture
from lab.qemu import Drive
from lab.rayvm import Rayvm, is_ui

DISPLAYS = ("virtio-vga",)
SUITE = "all"
SECOND = (1024, 768)
state = {}


def machine(display):
    files = state["files"] = desktop.files()
    return {"memory": desktop.LAB_MEMORY, "drives": [Drive(files["disk.img"])], "heads": 2}


def setup(lab):
    lab.resize_head(1, *SECOND)
    state["rayvm"] = Rayvm(lab, ["--outputs", "extend", *desktop.arguments(state["files"])])
    state["rayvm"].ready(120)
    desktop.said(lab, r"^DESKTOP:READY", 300, details=lambda: state["rayvm"].job.log_text()[-2000:])


def second(lab, accept, what, timeout=30):
    return lab.wait_screen(accept, timeout, f"{what} on the second monitor", interval=0.3, head=1)


def test_a_desktop_on_both(lab):
    lab.wait_screen(is_ui, 20, "the UI")
    second(lab, Picture.is_black, "nothing")
    lab.press("KEY_F11")
    lab.wait_screen(has_terminal, 60, "the desktop with its terminal").save(lab.results / "first.png")
    picture = second(lab, is_weston, "Weston")
    picture.save(lab.results / "second.png")
    assert picture.size == SECOND, picture.size
    # Its own clock runs there: frames of the second head are presented and answered.
    before = clock(picture)
    second(lab, lambda p: is_weston(p) and clock(p) != before, "the clock's next second")
    sizes = [(size["width"], size["height"]) for size in state["rayvm"].status()["scanouts"]]
    assert sizes[:2] == [(1280, 800), SECOND], sizes


def test_toggles_are_for_both(lab):
    for _ in range(5):
        lab.press("KEY_F12")
        lab.wait_screen(is_ui, 20, "the UI")
        second(lab, Picture.is_black, "nothing")
        lab.press("KEY_F11")
        lab.wait_screen(has_terminal, 20, "the desktop")
        second(lab, is_weston, "Weston")


def test_a_monitor_goes_and_comes(lab):
    rayvm, hidden_at = state["rayvm"], len(state["rayvm"].presentations())
    for _ in range(2):
        lab.resize_head(1, 0, 0)
        lab.wait_for(lambda: rayvm.status()["scanouts"][1]["width"] == 0, 60, "Weston to leave it", lambda: str(rayvm.status()), interval=0.5)
        lab.wait_screen(has_terminal, 30, "the terminal on the first")
        lab.resize_head(1, 800, 600)
        second(lab, lambda p: p.size == (800, 600) and is_weston(p), "Weston in its new mode", 60).save(lab.results / "again.png")
        lab.wait_screen(has_terminal, 30, "the terminal on the first")
    assert rayvm.presentations()[hidden_at:] == [], "a monitor that comes and goes is no toggle"
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
