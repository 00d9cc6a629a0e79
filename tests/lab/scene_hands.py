# SPDX-License-Identifier: MIT
"""Hands on several devices at once (uinput in L1), and what of it reaches a guest that prints every event."""

import re

from lab import paths
from lab.rayvm import Rayvm, guest_files, is_ui, tiny

DISPLAYS = ("bochs-display",)
MACHINE = {"memory": 2560}
FIFO = "/run/uinput-play"
KEY_A, KEY_LEFTSHIFT, KEY_GRAVE, KEY_F11, KEY_F12, KEY_RIGHTCTRL = 30, 42, 41, 87, 88, 97
TOGGLE = {KEY_GRAVE: lambda shown: not shown, KEY_F11: lambda shown: True, KEY_F12: lambda shown: False}
state = {}


def setup(machine):
    files = guest_files("make-tiny")
    machine.sh(f"modprobe uinput; rm -f {FIFO}; mkfifo {FIFO}", check=True)
    state["play"] = machine.spawn(["/bin/sh", "-c", f"exec {paths.SOURCE}/tests/lab/uinput-play <>{FIFO}"], log="uinput-play.log")
    state["play"].wait_log("^ready$", 30)
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "--lid", "blank",
                                     "-a", "console=ttyS0 quiet loglevel=3", "--serial", "file:/lab/guest.log"])
    state["rayvm"].ready()      # the log on the serial port is this run's from here on
    machine.wait_for(lambda: "TINY:READY" in serial(machine), 120, "the guest", lambda: serial(machine)[-1500:])


def serial(machine):
    path = machine.results / "guest.log"
    return path.read_text(errors="replace") if path.exists() else ""


def play(machine, line, timeout=30):
    machine.sh(f"echo '{line}' >{FIFO}", check=True)
    state["play"].wait_log(f"^ok {re.escape(line)}$", timeout)


def plug(machine, kind, *names):
    for name in names:
        status = state["rayvm"].status()
        play(machine, f"{kind} {name}")
        what = "keyboards" if kind == "keyboard" else "pointers"
        if "pointers" in status or what == "keyboards":
            machine.wait_for(lambda: state["rayvm"].status()[what] > status[what], 20, f"{name} in rayvm")
        else:
            state["rayvm"].job.wait_log(f"{name}: device", 20, again=True)


def events(machine, kind, since=0):
    """(code, value) of the events of this type that the guest saw, without its own repeats."""
    found = [(int(code), int(value)) for code, value in re.findall(rf"^TINY:EV \S+ {kind} (\d+) (-?\d+)$", serial(machine), re.MULTILINE)]
    return [pair for pair in found if kind != 1 or pair[1] != 2][since:]


def overrun(machine):
    """How often a reader in the guest fell behind and lost what it had not read (SYN_DROPPED): on a software CPU its painting and printing takes long."""
    return len(re.findall(r"^TINY:EV \S+ 0 3 0$", serial(machine), re.MULTILINE))


def saw(machine, kind, since, wanted, timeout=20):
    machine.wait_for(lambda: len(events(machine, kind, since)) >= len(wanted), timeout, f"{wanted} in the guest",
                     lambda: f"it saw {events(machine, kind, since)}")
    assert events(machine, kind, since) == wanted, events(machine, kind, since)


def show(machine, guest):
    state["rayvm"].ctl("show", "guest" if guest else "ui")
    machine.wait_screen(tiny if guest else is_ui, 20, "the guest's picture" if guest else "the UI")


def test_the_guest_has_each_kind_of_device(machine):
    names = re.findall(r"^TINY:DEV \S+ (rayvm .*)$", serial(machine), re.MULTILINE)
    assert sorted(names) == ["rayvm keyboard", "rayvm mouse", "rayvm tablet", "rayvm touch screen"], names


def test_the_lid_switches_the_screen(machine):
    rayvm = state["rayvm"]
    play(machine, "lid cover")
    machine.wait_for(lambda: "cover" in machine.sh("cat /proc/bus/input/devices", check=True).stdout, 20, "the lid")
    for closed, screen in ((1, "off"), (0, "on"), (1, "off"), (0, "on")):
        # Nobody says when the lid's device is open.
        def told(closed=closed, screen=screen):
            play(machine, f"cover 5 0 {closed}")
            return rayvm.status()["display"] == screen
        machine.wait_for(told, 20, f"the screen to be {screen}", interval=0.3)
    play(machine, "unplug cover")
    machine.wait_screen(is_ui, 10, "the UI")


def test_devices_that_lie_or_vanish(machine):
    """A tablet that spans nothing is left out with a line; a keyboard that is pulled out in the midst of its event leaves nothing behind."""
    rayvm = state["rayvm"]
    play(machine, "liar crooked")
    rayvm.job.wait_log("crooked", 20)
    show(machine, True)
    plug(machine, "keyboard", "brittle")
    before = len(events(machine, 1))
    play(machine, f"brittle 1 {KEY_A} 1")
    saw(machine, 1, before, [(KEY_A, 1)])
    play(machine, f"vanish brittle 1 {KEY_LEFTSHIFT} 1")
    rayvm.job.wait_log("brittle is gone", 20)
    machine.wait_for(lambda: (KEY_A, 0) in events(machine, 1, before), 20, "the release of what it held")
    pairs = events(machine, 1, before)
    assert pairs.count((KEY_LEFTSHIFT, 1)) == pairs.count((KEY_LEFTSHIFT, 0)), pairs
    machine.press("KEY_B")
    machine.wait_for(lambda: events(machine, 1, len(pairs) + before)[-2:] == [(48, 1), (48, 0)], 20, "another keyboard to work on")
    play(machine, "unplug crooked")
    warned = [line for line in rayvm.job.log_text().splitlines() if "crooked" in line and " warn " in line]
    assert len(warned) == 1, warned
    show(machine, False)


def test_sysrq_is_the_kernels(machine):
    """While rayvm has the panel and the console's keyboard is off."""
    machine.sh("echo 1 >/proc/sys/kernel/sysrq; dmesg -C", check=True)
    plug(machine, "keyboard", "sysrq")
    play(machine, "sysrq 1 56 1")
    play(machine, "sysrq 1 99 1")
    play(machine, "sysrq 1 35 1")
    play(machine, "sysrq 1 35 0")
    play(machine, "sysrq 1 99 0")
    play(machine, "sysrq 1 56 0")
    machine.wait_for(lambda: "sysrq: HELP" in machine.sh("dmesg", check=True).stdout, 10, "the kernel's answer", lambda: machine.sh("dmesg | tail", check=True).stdout)
    play(machine, "unplug sysrq")


def test_two_keyboards_hold_one_key(machine):
    plug(machine, "keyboard", "one", "two")
    show(machine, True)
    before = len(events(machine, 1))
    play(machine, f"one 1 {KEY_A} 1")
    play(machine, f"two 1 {KEY_A} 1")
    play(machine, f"one 1 {KEY_A} 0")           # the other finger is still there
    play(machine, f"one 1 {KEY_LEFTSHIFT} 1")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1)])
    play(machine, f"two 1 {KEY_A} 0")
    play(machine, f"one 1 {KEY_LEFTSHIFT} 0")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_A, 0), (KEY_LEFTSHIFT, 0)])


def test_unplugged_while_held(machine):
    before = len(events(machine, 1))
    play(machine, f"one 1 {KEY_A} 1")
    play(machine, f"two 1 {KEY_A} 1 1 {KEY_LEFTSHIFT} 1")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1)])
    play(machine, "unplug two")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_LEFTSHIFT, 0)])
    play(machine, "unplug one")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_LEFTSHIFT, 0), (KEY_A, 0)])


def test_the_pass_key_types_a_toggle_key(machine):
    plug(machine, "keyboard", "three")
    show(machine, True)
    before, changes = len(events(machine, 1)), len(state["rayvm"].presentations())
    play(machine, f"three 1 {KEY_RIGHTCTRL} 1")
    for code in TOGGLE:
        play(machine, f"three 1 {code} 1")
        play(machine, f"three 1 {code} 0")
    play(machine, f"three 1 {KEY_RIGHTCTRL} 0")
    saw(machine, 1, before, [(KEY_RIGHTCTRL, 1), (KEY_RIGHTCTRL, 0), *((code, value) for code in TOGGLE for value in (1, 0))])
    assert len(state["rayvm"].presentations()) == changes, state["rayvm"].presentations()
    play(machine, f"three 1 {KEY_GRAVE} 1")
    machine.wait_screen(is_ui, 20, "the UI")
    play(machine, f"three 1 {KEY_GRAVE} 0")


def lit(machine):
    return "1" in machine.sh("cat /sys/class/leds/*capslock/brightness", check=True).stdout.split()


def test_lights_follow_the_face(machine):
    """The guest lights its LEDs: they are on the keyboards while it is shown, and only then."""
    show(machine, True)
    said = machine.sh(f"(echo leds; exec sleep 3) | {paths.built('src/rayvmctl')} -s /run/rayvm.sock console com1", timeout=60)
    assert "TINY:LEDS" in said.stdout, said
    machine.wait_for(lambda: lit(machine), 20, "Caps Lock lit on a keyboard")
    show(machine, False)
    machine.wait_for(lambda: not lit(machine), 20, "Caps Lock dark in the UI")
    show(machine, True)
    machine.wait_for(lambda: lit(machine), 20, "Caps Lock lit again")


def test_mouse_of_1000_hz(machine):
    plug(machine, "mouse", "swift")
    show(machine, True)
    before, keys, dropped, behind = len(events(machine, 2)), len(events(machine, 1)), state["rayvm"].stats()["input_dropped"], overrun(machine)
    play(machine, "tick swift 1000 1 2 0 1", 60)
    play(machine, "swift 1 272 1")
    play(machine, "swift 1 272 0")
    saw(machine, 1, keys, [(272, 1), (272, 0)], 60)
    moved = sum(value for code, value in events(machine, 2, before) if code == 0)
    lost = state["rayvm"].stats()["input_dropped"] - dropped
    behind = overrun(machine) - behind
    print(f"# 1000 packets in a row: the guest moved by {moved}, {lost} packets found no room, its reader fell behind {behind} times")
    assert 0 < moved <= 1000 and (moved + lost >= 1000 or behind > 0), (moved, lost, behind)


def expected(log):
    """What the guest gets of the (code, value) that a reader of the device saw: the rules, once more."""
    shown, owner, out = False, {}, []
    for code, value in log:
        if value == 0:
            if owner.pop(code, None):
                out.append((code, 0))
        elif code in TOGGLE:
            if shown and not TOGGLE[code](shown):
                out += [(key, 0) for key in sorted(owner) if owner[key]]
            if shown != TOGGLE[code](shown):
                owner = dict.fromkeys(owner, False)
            shown = TOGGLE[code](shown)
        else:
            owner[code] = shown
            if shown:
                out.append((code, 1))
    return out


def storm(machine, count, seed):
    """Random keys with toggles between them: in the guest arrives what an independent reader says, no more and no less."""
    plug(machine, "keyboard", f"storm{seed}")
    show(machine, False)
    before, dropped, behind = len(events(machine, 1)), state["rayvm"].stats()["input_dropped"], overrun(machine)
    reader = machine.spawn([f"{paths.SOURCE}/tests/lab/evdev-log"], log=f"reader-{seed}.log")
    reader.wait_log("^listening", 20)
    play(machine, f"storm storm{seed} {count} {seed} 40", count * 0.12 + 60)
    log = [(int(code), int(value)) for code, value in re.findall(rf"^\S+ storm{seed} 1 (\d+) ([01])$", reader.log_text(), re.MULTILINE)]
    reader.stop()
    wanted = expected(log)
    assert len(log) >= count and len(wanted) > count / 5, (len(log), len(wanted))
    machine.wait_for(lambda: len(events(machine, 1, before)) >= len(wanted) or overrun(machine) > behind, 60, "the keys in the guest",
                     lambda: f"{len(events(machine, 1, before))} of {len(wanted)}")
    assert overrun(machine) == behind, "a reader in the guest fell behind: this says nothing of rayvm"
    seen = events(machine, 1, before)
    first = next((i for i, pair in enumerate(wanted) if seen[i] != pair), None)
    assert seen == wanted, f"event {first}: wanted {wanted[first or 0:][:5]}, saw {seen[first or 0:][:5]}"
    print(f"# {len(log)} key events, {sum(code in TOGGLE and value for code, value in log)} toggle keys: {len(wanted)} events in the guest, each as it had to be; "
          f"{state['rayvm'].stats()['input_dropped'] - dropped} dropped; key to queue {state['rayvm'].stats()['key_guest_us']}")


def test_random_keys_and_toggles(machine):
    storm(machine, 600, 1)


def test_touch_screen(machine):
    slot, tracking, x, y, touch = 47, 57, 53, 54, (330, 1)
    plug(machine, "touch", "glass")
    show(machine, True)
    keys = len(events(machine, 1))
    # From one corner to the opposite one, each: what does not change is not reported, and 0 is what the guest begins with.
    play(machine, f"glass 3 {slot} 0 3 {tracking} 5 3 {x} 4095 3 {y} 4095 1 330 1")
    play(machine, f"glass 3 {slot} 1 3 {tracking} 6 3 {x} 4095 3 {y} 2000")
    play(machine, f"glass 3 {slot} 0 3 {x} 0 3 {y} 0")
    saw(machine, 1, keys, [touch])
    machine.wait_for(lambda: (y, 0) in events(machine, 3), 20, "the corner")
    assert [value >= 0 for code, value in events(machine, 3) if code == tracking] == [True, True], events(machine, 3)
    moves = events(machine, 3)
    assert (x, 0) in moves and (y, 65535) in moves and (x, 65535) in moves and (y, 0) in moves, moves[-20:]
    # A toggle lifts both there; where they go later, and that they are lifted, is nobody's.
    machine.press("KEY_GRAVE")
    saw(machine, 1, keys, [touch, (330, 0)])
    after = len(events(machine, 3))
    assert [value for code, value in events(machine, 3) if code == tracking][-2:] == [-1, -1], moves
    play(machine, f"glass 3 {slot} 0 3 {x} 100")
    play(machine, f"glass 3 {slot} 0 3 {tracking} -1 3 {slot} 1 3 {tracking} -1 1 330 0")
    show(machine, True)
    play(machine, f"glass 3 {slot} 0 3 {tracking} 7 3 {x} 2000 3 {y} 2000 1 330 1")
    play(machine, f"glass 3 {slot} 0 3 {tracking} -1 1 330 0")
    saw(machine, 1, keys, [touch, (330, 0), touch, (330, 0)])
    assert not any(code == x and value < 30000 for code, value in events(machine, 3, after)), events(machine, 3, after)


def test_ten_thousand_random_keys_and_toggles(machine):
    storm(machine, 10000, 2)


test_ten_thousand_random_keys_and_toggles.suite = "all"
