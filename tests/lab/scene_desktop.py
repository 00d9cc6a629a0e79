# SPDX-License-Identifier: MIT
"""The acceptance scene with the real thing: a Debian with Weston behind the native UI, on a real card, by pixels and by what the guest says."""

import time

from lab import desktop
from lab.desktop import below_panel, clock, has_terminal, is_weston
from lab.qemu import Drive
from lab.rayvm import Rayvm, caps_lock_lit, is_ui
from lab.uinput import Player

DISPLAYS = ("virtio-vga",)
ISOLATED_ALL = ("virtio-vga",)      # one more start of a Debian; scene_isolated.py is for each change
UI_LINE = "echo ui-$((6*7)) >/dev/ttyS0"
state = {}


def machine(display):
    files = state["files"] = desktop.files()
    return {"memory": desktop.LAB_MEMORY, "drives": [Drive(files["disk.img"])]}


def setup(lab):
    state["rayvm"] = Rayvm(lab, desktop.arguments(state["files"]))


def said(lab, pattern, timeout, times=1):
    return desktop.said(lab, pattern, timeout, times, lambda: f"rayvm said:\n{state['rayvm'].job.log_text()[-2000:]}")


def type_text(lab, text):
    """As a fast human types: a software CPU that is late must not lose keys in the queue of the lab's own keyboard."""
    lab.type(text, pause=0.08)


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
    type_text(lab, UI_LINE)
    lab.wait_screen(lambda p: is_ui(p) and p.difference(before) > 200, 20, "the letters in the UI's prompt")
    lab.press("KEY_LEFTCTRL", "KEY_U")
    empty = show_guest(lab)
    type_text(lab, "echo hi-$((6*7)) >/dev/ttyS0\n")
    said(lab, r"^hi-42\s*$", 40)
    picture = lab.wait_screen(lambda p: is_weston(p) and below_panel(p).difference(below_panel(empty)) > 100, 20,
                              "the typed line in the terminal")
    picture.save(lab.results / "desktop-typed.png")
    show_ui(lab)
    lab.press("KEY_ENTER")
    time.sleep(2)
    assert "ui-42" not in desktop.serial(lab), "keys typed at the UI reached the guest"
    stats = state["rayvm"].stats()
    print(f"         key to guest, microseconds: { {k: v for k, v in stats['key_guest_us'].items() if k != 'buckets'} }, {stats['input_dropped']} packets dropped", flush=True)


def test_the_desktop_lives_on_while_hidden(lab):
    """The clock in its panel shows seconds."""
    first = clock(show_guest(lab))
    shown = lab.wait_screen(lambda p: clock(p) != first, 20, "the clock's next second while shown")
    show_ui(lab)
    time.sleep(5)
    lab.press("KEY_F11")
    again = lab.wait_screen(is_weston, 20, "Weston's desktop")
    assert clock(again) != clock(shown), "the clock stood still while hidden"
    show_ui(lab)
    # A program started now goes on while hidden: it says so three times, a second apart.
    state["rayvm"].ctl("type", "--guest", "for i in 1 2 3; do sleep 1; echo tick-$i >/dev/ttyS0; done\n")
    said(lab, r"^tick-3\s*$", 60)


def test_the_pointer_moves_the_cursor(lab):
    """The guest's own cursor, which is no part of its scanout, at the place the pointer was moved to and no longer where it was."""
    lab.move(640, 2)    # on the panel, out of the way
    empty = show_guest(lab)
    size = 40

    def bare(picture, x, y):
        return picture.crop(x - 8, y - 8, size, size).fraction(desktop.BACKGROUND, 4) == 1.0

    # Weston opens the terminal anywhere: two places where it is not.
    spots = [(x, y) for x in (100, 400, 700, 1000, 1200) for y in (80, 200, 740) if bare(empty, x, y)]
    assert len(spots) >= 2, "the terminal covers everything"
    first, last = spots[0], spots[-1]
    for here, there in ((first, last), (last, first)):
        lab.move(*here)
        picture = lab.wait_screen(lambda p: is_weston(p) and not bare(p, *here) and bare(p, *there), 20,
                                  f"the cursor at {here} and not at {there}")
        picture.save(lab.results / f"cursor-{here[0]}-{here[1]}.png")
        assert picture.difference(empty) < 3000, "more changed than a cursor and the clock"
    show_ui(lab)


def test_caps_lock_lights_the_keyboard(lab):
    """Weston and the UI each have a Caps Lock of their own; the keyboard shows that of the face which is shown."""
    def light(on, what):
        lab.wait_for(lambda: caps_lock_lit(lab) == on, 20, f"the light {'on' if on else 'off'}: {what}")

    show_guest(lab)
    light(False, "nothing is locked yet")
    lab.press("KEY_CAPSLOCK")
    light(True, "locked in the guest")
    show_ui(lab)
    light(False, "the UI's is not locked")
    show_guest(lab)
    light(True, "locked in the guest, shown again")
    lab.press("KEY_CAPSLOCK")
    light(False, "unlocked in the guest")
    show_ui(lab)
    lab.press("KEY_CAPSLOCK")
    light(True, "locked in the UI")
    show_guest(lab)
    light(False, "the guest's is not locked")
    show_ui(lab)
    light(True, "locked in the UI, shown again")
    lab.press("KEY_CAPSLOCK")
    light(False, "unlocked in the UI")


def test_libinput_in_the_guest_sees_sane_devices(lab):
    """What a program in the guest that knows libinput makes of them: what they are and what each does, to the corners."""
    player = Player(lab)
    player.play("touch glass")
    state["rayvm"].job.wait_log("glass: device", 20, again=True)
    show_guest(lab)
    state["rayvm"].ctl("type", "--guest", "/usr/libexec/libinput/libinput-debug-events --show-keycodes >/dev/ttyS0 2>&1 &\n")
    for name, can in (("keyboard", "k"), ("mouse", "p"), ("tablet", "p"), ("touch screen", "t")):
        said(lab, rf"DEVICE_ADDED +rayvm {name} .*cap:{can}\b", 60)
    node = {name: said(lab, rf"^[ -]*(event\d+) +DEVICE_ADDED +rayvm {name} ", 10)[1] for name in ("keyboard", "mouse", "tablet", "touch screen")}

    def heard(name, pattern):
        return said(lab, rf"^[ -]*{node[name]} +{pattern}", 20)

    lab.press("KEY_LEFTSHIFT")
    heard("keyboard", r"KEYBOARD_KEY .*KEY_LEFTSHIFT \(42\) pressed")
    heard("keyboard", r"KEYBOARD_KEY .*KEY_LEFTSHIFT \(42\) released")
    lab.move_by(30, -20)
    heard("mouse", r"POINTER_MOTION .*30\.00/-20\.00\)")
    lab.move(640, 400)      # what does not change is no event
    for x, y, where in ((0, 0, "0.00/ *0.00"), (1279, 0, "100.00/ *0.00"), (1279, 799, "100.00/ *100.00"), (0, 799, "0.00/ *100.00")):
        lab.move(x, y)
        heard("tablet", rf"POINTER_MOTION_ABSOLUTE .*\s{where}\b")
    lab.click("wheel-up")
    said(lab, r"POINTER_SCROLL_WHEEL .*vert -15\.00/-120\.0", 20)
    lab.click()
    said(lab, r"POINTER_BUTTON .*BTN_LEFT \(272\) pressed", 20)
    said(lab, r"POINTER_BUTTON .*BTN_LEFT \(272\) released", 20)
    player.play("glass 3 47 0 3 57 5 3 53 1024 3 54 2048 1 330 1")
    heard("touch screen", r"TOUCH_DOWN .*\s25\.\d+/ *50\.\d+\b")
    player.play("glass 3 53 4095 3 54 4095")
    heard("touch screen", r"TOUCH_MOTION .*\s100\.00/ *100\.00\b")
    player.play("glass 3 57 -1 1 330 0")
    heard("touch screen", r"TOUCH_UP ")
    state["rayvm"].ctl("type", "--guest", "kill %1\n")
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
    before = desktop.serial(lab).count("DESKTOP:READY")     # of the first start, if it came as far
    ui = show_ui(lab)
    lab.press("KEY_F11")            # showing starts a VM that is stopped
    lab.wait_screen(lambda p: desktop.is_placeholder(p, ui), 20, "the placeholder").save(lab.results / "placeholder.png")
    said(lab, r"^DESKTOP:READY", 300, times=before + 1)
    lab.wait_screen(has_terminal, 60, "the desktop after it was started again").save(lab.results / "desktop-again.png")
    show_ui(lab)
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
