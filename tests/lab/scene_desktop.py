# SPDX-License-Identifier: MIT
"""The acceptance scene with the real thing: a Debian with Weston behind the native UI, on a real card, by pixels and by what the guest says."""

import re
import time

from lab.qemu import Drive
from lab.rayvm import Rayvm, guest_files, is_ui

DISPLAYS = ("virtio-vga",)
BACKGROUND, PANEL = (0x20, 0x4a, 0x6a), (0x10, 0x18, 0x20)     # Weston's, see the guests' README.md
PANEL_HEIGHT = 32           # of Weston's desktop shell, in pixels
GUEST_SERIAL = "guest-serial.log"
state = {}


def machine(display):
    files = state["files"] = guest_files("make-desktop")
    return {"memory": 2560, "drives": [Drive(files["disk.img"])]}


def setup(lab):
    files = state["files"]
    with open(files["cmdline"], encoding="ascii") as file:
        append = file.read().strip()
    # The kernel unpacked: a software CPU spends seconds on unpacking it.
    state["rayvm"] = Rayvm(lab, ["-k", files["vmlinuz"].replace("vmlinuz", "vmlinux"), "-i", files["initrd"], "-a", append,
                                 "-d", "/dev/vda", "-m", "1G", "-s", "2", "--serial", f"file:/lab/{GUEST_SERIAL}"])


def serial(lab):
    path = lab.results / GUEST_SERIAL
    return path.read_text(errors="replace") if path.exists() else ""


def said(lab, pattern, timeout, times=1):
    """Wait until the guest has said PATTERN (a line of it) on its serial port TIMES times; returns the last match."""
    search = re.compile(pattern, re.MULTILINE)
    found = []

    def look():
        found[:] = search.finditer(serial(lab))
        return len(found) >= times

    lab.wait_for(look, timeout, f"/{pattern}/ on the guest's serial port",
                 lambda: f"it said:\n{serial(lab)[-1500:]}\nrayvm said:\n{state['rayvm'].job.log_text()[-2000:]}", interval=0.3)
    return found[-1]


def is_weston(picture):
    """Weston's panel along the top and its background below, in the colours of the guest's settings."""
    return near(picture.pixel(picture.width // 2, 3), PANEL) and near(picture.pixel(4, -4), BACKGROUND)


def near(pixel, wanted):
    return all(abs(a - b) <= 4 for a, b in zip(pixel, wanted))


def below_panel(picture):
    return picture.crop(0, PANEL_HEIGHT, picture.width, picture.height - PANEL_HEIGHT)


def has_terminal(picture):
    """A good part of the desktop is neither background nor panel: the terminal's window."""
    return is_weston(picture) and below_panel(picture).fraction(BACKGROUND, 4) < 0.9


def show_guest(lab, key="KEY_F11"):
    lab.press(key)
    return lab.wait_screen(is_weston, 20, "Weston's desktop")


def show_ui(lab, key="KEY_F12"):
    lab.press(key)
    return lab.wait_screen(is_ui, 20, "the UI")


def test_ui_first_and_the_desktop_boots_behind_it(lab):
    rayvm = state["rayvm"]
    rayvm.ready(120).save(lab.results / "ui.png")
    assert rayvm.presentations() == []
    rayvm.marker("VIRTIO_BLK:DISK_INIT_IMAGE", 30)
    assert rayvm.status()["vm"] in ("starting", "running")
    rayvm.marker("VIRTIO_GPU:FRAME_READY:1", 240)
    ready = said(lab, r"^DESKTOP:READY uptime=([\d.]+)", 300)
    print(f"         the desktop was ready {ready[1]} s after its kernel's start", flush=True)
    assert is_ui(lab.screendump()), "the desktop came up hidden: the UI must still be there"
    assert rayvm.presentations() == []


def test_the_key_shows_the_desktop_and_returns(lab):
    rayvm = state["rayvm"]
    lab.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 20)
    rayvm.marker("RAYOS_LINUX_DESKTOP_PRESENTED:ok:1280x800", 20)
    rayvm.marker("RAYOS_LINUX_DESKTOP_FIRST_FRAME:ok:1280x800", 20)
    picture = lab.wait_screen(has_terminal, 30, "the desktop with its terminal")
    picture.save(lab.results / "desktop.png")
    assert rayvm.status()["desktop"] == 3
    lab.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:HIDDEN", 20)
    lab.wait_screen(is_ui, 20, "the UI")
    assert rayvm.status()["desktop"] == 2


def test_what_is_typed_goes_to_the_face_that_is_shown(lab):
    before = show_ui(lab)
    lab.type("echo ui-$((6*7)) >/dev/ttyS0")
    lab.wait_screen(lambda p: is_ui(p) and p.difference(before) > 200, 20, "the letters in the UI's prompt")
    for _ in range(len("echo ui-$((6*7)) >/dev/ttyS0")):
        lab.press("KEY_BACKSPACE", hold=0.01)
    empty = show_guest(lab)
    lab.type("echo hi-$((6*7)) >/dev/ttyS0\n", pause=0.03)
    said(lab, r"^hi-42\s*$", 40)
    picture = lab.wait_screen(lambda p: is_weston(p) and below_panel(p).difference(below_panel(empty)) > 100, 20,
                              "the typed line in the terminal")
    picture.save(lab.results / "desktop-typed.png")
    show_ui(lab)
    lab.type("\n")
    time.sleep(2)
    assert "ui-42" not in serial(lab), "keys typed at the UI reached the guest"


def test_the_desktop_lives_on_while_hidden(lab):
    """The clock in its panel shows seconds."""
    def clock(picture):
        return picture.crop(picture.width // 2, 0, picture.width // 2, PANEL_HEIGHT)

    first = clock(show_guest(lab))
    shown = lab.wait_screen(lambda p: clock(p) != first, 20, "the clock's next second while shown")
    show_ui(lab)
    time.sleep(5)
    lab.press("KEY_F11")
    again = lab.wait_screen(is_weston, 20, "Weston's desktop")
    assert clock(again) != clock(shown), "the clock stood still while hidden"
    said_before = len(serial(lab))
    show_ui(lab)
    # A program started now goes on while hidden: it says so three times, a second apart.
    state["rayvm"].ctl("type", "--guest", "for i in 1 2 3; do sleep 1; echo tick-$i >/dev/ttyS0; done\n")
    said(lab, r"^tick-3\s*$", 60)
    assert len(serial(lab)) > said_before


def test_the_pointer_moves_the_cursor(lab):
    show_guest(lab)
    window = 32

    def around(picture, x, y):
        return picture.crop(x - 8, y - 8, window, window)

    # Two places on the bare background: bottom left and right.
    places = [(40, 760), (1220, 760)]
    for here, there in (places, places[::-1]):
        lab.move(*here)

        def moved(picture):
            return (around(picture, *here).fraction(BACKGROUND, 4) < 0.99 and
                    around(picture, *there).fraction(BACKGROUND, 4) == 1.0)

        lab.wait_screen(moved, 20, f"the cursor at {here} and not at {there}").save(lab.results / f"cursor-{here[0]}.png")
    show_ui(lab)


def test_faces_are_never_mixed(lab):
    """Bursts of pictures while toggling hold one face or the other."""
    rayvm = state["rayvm"]
    before, wrong = len(rayvm.presentations()), []
    rayvm.stats(reset=True)
    for number in range(20):
        lab.press("KEY_GRAVE", hold=0.01)
        for picture in lab.burst(3):
            if not is_ui(picture) and not is_weston(picture):
                wrong.append(number)
                picture.save(lab.results / f"wrong-{number}.png")
    lab.wait_for(lambda: len(rayvm.presentations()) == before + 20, 30, "20 toggles")
    stats = rayvm.stats()
    print(f"         toggle to flip, microseconds: {stats['toggle_flip_us']}", flush=True)
    assert not wrong, f"after toggles {wrong} the screen held neither face (wrong-*.png)"
    assert stats["modesets"] == 0, stats
    lab.wait_screen(is_ui, 20, "the UI after an even number of toggles")


def test_power_button_and_showing_again(lab):
    rayvm = state["rayvm"]
    rayvm.ctl("vm", "powerdown")
    rayvm.wait("vm:stopped", 120)
    show_ui(lab)
    lab.press("KEY_F11")            # showing starts a VM that is stopped
    placeholder = lab.wait_screen(lambda p: not is_ui(p), 20, "the placeholder")
    assert not placeholder.is_black()
    said(lab, r"^DESKTOP:READY", 300, times=2)
    lab.wait_screen(has_terminal, 60, "the desktop after it was started again").save(lab.results / "desktop-again.png")
    show_ui(lab)
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
