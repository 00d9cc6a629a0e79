# SPDX-License-Identifier: MIT
"""Hands on several devices at once (uinput in L1), and what of it reaches a guest that prints every event."""

import re
import time

from lab import paths
from lab.rayvm import Rayvm, caps_lock_lit, guest_files, is_ui, tiny
from lab.uinput import Player

DISPLAYS = ("bochs-display",)
MACHINE = {"memory": 2560}
COM1 = "/run/com1"
STORM_MS = 25       # between events: what a guest on a busy software CPU still reads in time
KEY_Q, KEY_A, KEY_B, KEY_C, KEY_H, KEY_F11, KEY_F12, KEY_GRAVE, BTN_LEFT = 16, 30, 48, 46, 35, 87, 88, 41, 272
KEY_LEFTSHIFT, KEY_LEFTCTRL, KEY_RIGHTCTRL, KEY_LEFTALT, KEY_SYSRQ = 42, 29, 97, 56, 99
TOGGLE = {KEY_GRAVE: lambda shown: not shown, KEY_F11: lambda shown: True, KEY_F12: lambda shown: False}
state = {}


def setup(machine):
    files = guest_files("make-tiny")
    state["player"] = Player(machine)
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "--lid", "blank",
                                     "-a", "console=ttyS0 quiet loglevel=3", "--serial", "file:/lab/guest.log"])
    state["rayvm"].ready()      # the log on the serial port is this run's from here on
    machine.wait_for(lambda: "TINY:READY" in serial(machine), 120, "the guest", lambda: serial(machine)[-1500:])
    machine.sh(f"rm -f {COM1}; mkfifo {COM1}", check=True)
    machine.spawn(["/bin/sh", "-c", f"exec {paths.built('src/rayvmctl')} -s /run/rayvm.sock console com1 <>{COM1} >/dev/null"], log="console.log")


def serial(machine):
    path = machine.results / "guest.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return text[:text.rfind("\n") + 1]     # whole lines


def ask(machine, command, answer, timeout=30):
    """Tells the guest a command; the match of what it answers."""
    before = len(serial(machine))
    machine.sh(f"echo '{command}' >{COM1}", check=True)
    machine.wait_for(lambda: re.search(answer, serial(machine)[before:], re.MULTILINE), timeout, f"/{answer}/ of the guest",
                     lambda: f"it said:\n{serial(machine)[before:][-1500:]}")
    return re.search(answer, serial(machine)[before:], re.MULTILINE)


def down(machine):
    """The keys and buttons that the guest's kernel counts as down."""
    return sorted(int(code) for code in re.findall(r":(\d+)", ask(machine, "keys", r"^TINY:KEYS (.*)")[1]))


def play(line, timeout=30):
    state["player"].play(line, timeout)


def plug(machine, kind, *names):
    for name in names:
        status = state["rayvm"].status()
        play(f"{kind} {name}")
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
    play("lid cover")
    machine.wait_for(lambda: "cover" in machine.sh("cat /proc/bus/input/devices", check=True).stdout, 20, "the lid")
    for closed, screen in ((1, "off"), (0, "on"), (1, "off"), (0, "on")):
        # Nobody says when the lid's device is open.
        def told(closed=closed, screen=screen):
            play(f"cover 5 0 {closed}")
            return rayvm.status()["display"] == screen
        machine.wait_for(told, 20, f"the screen to be {screen}", interval=0.3)
    play("unplug cover")
    machine.wait_screen(is_ui, 10, "the UI")


def test_devices_that_lie_or_vanish(machine):
    """A tablet that spans nothing is left out with a line; a keyboard that is pulled out in the midst of its event leaves nothing behind."""
    rayvm = state["rayvm"]
    play("liar crooked")
    rayvm.job.wait_log("crooked", 20)
    show(machine, True)
    plug(machine, "keyboard", "brittle")
    before = len(events(machine, 1))
    play(f"brittle 1 {KEY_A} 1")
    saw(machine, 1, before, [(KEY_A, 1)])
    play(f"vanish brittle 1 {KEY_LEFTSHIFT} 1")
    rayvm.job.wait_log("brittle is gone", 20)

    def released():
        pairs = events(machine, 1, before)
        return (KEY_A, 0) in pairs and pairs.count((KEY_LEFTSHIFT, 1)) == pairs.count((KEY_LEFTSHIFT, 0))
    machine.wait_for(released, 20, "the release of what it held")
    pairs = events(machine, 1, before)
    machine.press("KEY_B")
    machine.wait_for(lambda: events(machine, 1, len(pairs) + before)[-2:] == [(KEY_B, 1), (KEY_B, 0)], 20, "another keyboard to work on")
    play("unplug crooked")
    warned = [line for line in rayvm.job.log_text().splitlines() if "crooked" in line and " warn " in line]
    assert len(warned) == 1, warned
    show(machine, False)


def test_sysrq_is_the_kernels(machine):
    """While rayvm has the panel and the console's keyboard is off."""
    machine.sh("echo 1 >/proc/sys/kernel/sysrq; dmesg -C", check=True)
    plug(machine, "keyboard", "sysrq")
    for code, value in ((KEY_LEFTALT, 1), (KEY_SYSRQ, 1), (KEY_H, 1), (KEY_H, 0), (KEY_SYSRQ, 0), (KEY_LEFTALT, 0)):
        play(f"sysrq 1 {code} {value}")
    machine.wait_for(lambda: "sysrq: HELP" in machine.sh("dmesg", check=True).stdout, 10, "the kernel's answer", lambda: machine.sh("dmesg | tail", check=True).stdout)
    play("unplug sysrq")


def test_two_keyboards_hold_one_key(machine):
    plug(machine, "keyboard", "one", "two")
    show(machine, True)
    before = len(events(machine, 1))
    play(f"one 1 {KEY_A} 1")
    play(f"two 1 {KEY_A} 1")
    play(f"one 1 {KEY_A} 0")           # the other finger is still there
    play(f"one 1 {KEY_LEFTSHIFT} 1")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1)])
    play(f"two 1 {KEY_A} 0")
    play(f"one 1 {KEY_LEFTSHIFT} 0")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_A, 0), (KEY_LEFTSHIFT, 0)])


def test_unplugged_while_held(machine):
    before = len(events(machine, 1))
    play(f"one 1 {KEY_A} 1")
    play(f"two 1 {KEY_A} 1 1 {KEY_LEFTSHIFT} 1")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1)])
    play("unplug two")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_LEFTSHIFT, 0)])
    play("unplug one")
    saw(machine, 1, before, [(KEY_A, 1), (KEY_LEFTSHIFT, 1), (KEY_LEFTSHIFT, 0), (KEY_A, 0)])


def test_the_pass_key_types_a_toggle_key(machine):
    plug(machine, "keyboard", "three")
    show(machine, True)
    before, changes = len(events(machine, 1)), len(state["rayvm"].presentations())
    play(f"three 1 {KEY_RIGHTCTRL} 1")
    for code in TOGGLE:
        play(f"three 1 {code} 1")
        play(f"three 1 {code} 0")
    play(f"three 1 {KEY_RIGHTCTRL} 0")
    saw(machine, 1, before, [(KEY_RIGHTCTRL, 1), (KEY_RIGHTCTRL, 0), *((code, value) for code in TOGGLE for value in (1, 0))])
    assert len(state["rayvm"].presentations()) == changes, state["rayvm"].presentations()
    play(f"three 1 {KEY_GRAVE} 1")
    machine.wait_screen(is_ui, 20, "the UI")
    play(f"three 1 {KEY_GRAVE} 0")


def test_lights_follow_the_face(machine):
    """The guest lights its LEDs: they are on the keyboards while it is shown, and only then."""
    show(machine, True)
    ask(machine, "leds", "^TINY:LEDS .*")
    machine.wait_for(lambda: caps_lock_lit(machine), 20, "Caps Lock lit on a keyboard")
    show(machine, False)
    machine.wait_for(lambda: not caps_lock_lit(machine), 20, "Caps Lock dark in the UI")
    show(machine, True)
    machine.wait_for(lambda: caps_lock_lit(machine), 20, "Caps Lock lit again")


def test_mouse_of_1000_hz(machine):
    plug(machine, "mouse", "swift")
    show(machine, True)
    before, keys, dropped, behind = len(events(machine, 2)), len(events(machine, 1)), state["rayvm"].stats()["input_dropped"], overrun(machine)
    play("tick swift 1000 1 2 0 1", 60)
    play("swift 1 272 1")
    play("swift 1 272 0")
    saw(machine, 1, keys, [(272, 1), (272, 0)], 60)
    moved = sum(value for code, value in events(machine, 2, before) if code == 0)
    lost = state["rayvm"].stats()["input_dropped"] - dropped
    behind = overrun(machine) - behind
    print(f"# 1000 packets in a row: the guest moved by {moved}, {lost} packets found no room, its reader fell behind {behind} times")
    assert 0 < moved <= 1000 and (moved + lost >= 1000 or behind > 0), (moved, lost, behind)


def expected(log, shown=False):
    """What the guest gets of the (code, value) that a reader of the device saw: the rules, once more."""
    owner, out = {}, []
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
    ask(machine, "hang", "^TINY:HANG")          # it would paint a picture for each key
    before, dropped, behind = len(events(machine, 1)), state["rayvm"].stats()["input_dropped"], overrun(machine)
    reader = machine.spawn([f"{paths.SOURCE}/tests/lab/evdev-log"], log=f"reader-{seed}.log")
    reader.wait_log("^listening", 20)
    began = time.monotonic()
    play(f"storm storm{seed} {count} {seed} {STORM_MS}", count * 0.12 + 60)
    took = time.monotonic() - began
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
    assert down(machine) == []
    ask(machine, "go", "^TINY:GO")
    stats = state["rayvm"].stats()
    latency = {name: value for name, value in stats["key_guest_us"].items() if name != "buckets"}
    print(f"# {len(log)} key events in {took:.0f} s, {sum(code in TOGGLE and value for code, value in log)} toggle keys: {len(wanted)} events in the guest, "
          f"each as it had to be; {stats['input_dropped'] - dropped} dropped; key to queue, microseconds: {latency}")


def test_random_keys_and_toggles(machine):
    storm(machine, 600, 1)


def devices_named(machine, since):
    return len(re.findall(r"^TINY:DEV \S+ rayvm ", serial(machine)[since:], re.MULTILINE))


def hold(machine):
    """Shift, a letter and a button, which the guest counts as down."""
    keys = len(events(machine, 1))
    play(f"typist 1 {KEY_LEFTSHIFT} 1")
    play(f"typist 1 {KEY_A} 1")
    play(f"tail 1 {BTN_LEFT} 1")
    # Two devices, two readers.
    machine.wait_for(lambda: len(events(machine, 1, keys)) >= 3, 20, "three presses in the guest", lambda: f"it saw {events(machine, 1, keys)}")
    assert down(machine) == [KEY_A, KEY_LEFTSHIFT, BTN_LEFT]


def all_are_up(machine):
    """
    For a driver that has just come all keys are up, also those that a person still holds: nobody presses them now, and nothing in virtio-input tells a driver
    what is held. Typing works; the old releases go nowhere; pressed anew they count.
    """
    assert down(machine) == []
    keys = len(events(machine, 1))
    play(f"typist 1 {KEY_B} 1")
    play(f"typist 1 {KEY_B} 0")
    for name, code in (("typist", KEY_A), ("typist", KEY_C), ("typist", KEY_LEFTSHIFT), ("tail", BTN_LEFT)):
        play(f"{name} 1 {code} 0")
    wanted = [(KEY_B, 1), (KEY_B, 0)]
    for value in (1, 0):
        for code in (KEY_LEFTSHIFT, KEY_A):
            play(f"typist 1 {code} {value}")
            wanted.append((code, value))
    saw(machine, 1, keys, wanted)
    play(f"tail 1 {BTN_LEFT} 1")
    play(f"tail 1 {BTN_LEFT} 0")
    saw(machine, 1, keys, [*wanted, (BTN_LEFT, 1), (BTN_LEFT, 0)])
    assert down(machine) == []


def test_driver_unloaded_and_loaded_with_keys_held(machine):
    plug(machine, "keyboard", "typist")
    plug(machine, "mouse", "tail")
    show(machine, True)
    hold(machine)
    ask(machine, "unload", "^TINY:UNLOADED")
    keys, said = len(events(machine, 1)), len(serial(machine))
    play(f"typist 1 {KEY_C} 1")        # held over the driver's start, as the others
    play(f"typist 1 {KEY_B} 1")
    play(f"typist 1 {KEY_B} 0")
    ask(machine, "load", "^TINY:LOADED")
    machine.wait_for(lambda: devices_named(machine, said) == 4, 20, "four devices in the guest again", lambda: serial(machine)[said:])
    assert events(machine, 1, keys) == [], "what was typed without a driver came later"
    all_are_up(machine)


def test_driver_unloaded_and_loaded_while_typing(machine):
    """Keys arrive all the time, some of them while the rings come up: each press that the new driver hears of has its release."""
    show(machine, True)
    ask(machine, "hang", "^TINY:HANG")          # it would paint a picture for each key
    said = len(serial(machine))
    tap = f"tick typist 200 25 1 {KEY_A} 1 0 0 0 1 {KEY_A} 0"
    state["player"].begin(tap)
    for _ in range(2):
        machine.wait_for(lambda: re.search(r"^TINY:EV \S+ 1 30 0$", serial(machine)[said:], re.MULTILINE), 20, "the typing in the guest")
        ask(machine, "unload", "^TINY:UNLOADED")
        said = len(serial(machine))
        ask(machine, "load", "^TINY:LOADED")
    state["player"].end(tap, 60)
    assert down(machine) == []
    ask(machine, "go", "^TINY:GO")
    heard = re.findall(r"^TINY:EV \S+ 1 30 ([01])$", serial(machine)[said:], re.MULTILINE)
    assert heard and heard == ["1", "0"] * (len(heard) // 2), heard
    print(f"# of 200 taps the last driver heard {len(heard) // 2}")


def test_reboot_with_keys_held(machine):
    show(machine, True)
    hold(machine)
    said = len(serial(machine))
    machine.sh(f"echo reboot >{COM1}", check=True)
    machine.wait_for(lambda: "TINY:INIT" in serial(machine)[said:], 120, "the guest's next start", lambda: serial(machine)[said:][-1500:])
    play(f"typist 1 {KEY_C} 1")
    machine.wait_for(lambda: "TINY:READY" in serial(machine)[said:], 120, "the guest again", lambda: serial(machine)[said:][-1500:])
    all_are_up(machine)


def test_typing_while_the_guest_stands_still(machine):
    """What it missed for a while, as when its CPU got no time, is all there afterwards: no reader is given more at once than it has room for."""
    plug(machine, "keyboard", "mute")
    show(machine, True)
    ask(machine, "hang", "^TINY:HANG")
    keys, behind = len(events(machine, 1)), overrun(machine)
    ask(machine, "deaf", "^TINY:DEAF 4")
    play("taps mute 20 12")
    ask(machine, "hear", "^TINY:HEAR 4")
    saw(machine, 1, keys, [(KEY_Q + number % 10, value) for number in range(20) for value in (1, 0)])
    assert overrun(machine) == behind
    ask(machine, "go", "^TINY:GO")


def test_event_queue_that_is_never_refilled(machine):
    """The guest hears of no key any more. Toggles do not mind; what its queue has no room for is dropped, but no release of a key that it saw pressed."""
    show(machine, True)
    play(f"mute 1 {KEY_C} 1")
    machine.wait_for(lambda: down(machine) == [KEY_C], 10, "the key in the guest")
    assert int(ask(machine, "deaf", "^TINY:DEAF (.*)")[1]) == 4
    keys = len(events(machine, 1))
    state["rayvm"].stats(reset=True)
    play("taps mute 400 5", 60)        # more than queue and backlog hold
    play(f"mute 1 {KEY_C} 0")
    for _ in range(10):
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 20, "the UI")
        machine.press("KEY_F11")
        machine.wait_screen(tiny, 20, "the guest's picture")
    stats = state["rayvm"].stats()
    assert stats["input_dropped"] > 0 and stats["toggle_flip_us"]["count"] + stats["toggles_replaced"] == 20, stats
    print(f"# {stats['input_dropped']} packets dropped; toggles beside it, microseconds: { {name: stats['toggle_flip_us'][name] for name in ('p50', 'p95', 'max')} }")
    assert events(machine, 1, keys) == []
    assert int(ask(machine, "hear", "^TINY:HEAR (.*)")[1]) == 4
    machine.wait_for(lambda: (KEY_C, 0) in events(machine, 1, keys), 20, "the old key's release", lambda: f"it saw {events(machine, 1, keys)}")
    play(f"mute 1 {KEY_B} 1")
    play(f"mute 1 {KEY_B} 0")
    machine.wait_for(lambda: events(machine, 1, keys)[-1] == (KEY_B, 0), 20, "a new key", lambda: f"it saw {events(machine, 1, keys)[-5:]}")
    assert down(machine) == []


test_event_queue_that_is_never_refilled.suite = "all"   # 400 taps and 20 toggles on a software CPU; first-vblank-full-queue of tests/bench has the figures


# In what order a modifier is pressed (P), released (R), and the face changes (T); a letter is typed before, after, and in between.
ORDERS, MORE_ORDERS = ("PTRT", "PTTR", "TPTR", "TPRT"), ("PRTT", "TTPR", "PTRPTR", "PTTTR")
MODIFIERS = {"KEY_LEFTSHIFT": (KEY_LEFTSHIFT, "Q"), "KEY_LEFTCTRL": (KEY_LEFTCTRL, "")}     # and what Q with it is in the UI's prompt


def rules(modifier, order, shown):
    """What the prompt has to have of it, and the keys in the guest."""
    code, changed = MODIFIERS[modifier]
    held, letters, log = None, "", []           # held: the face that has the modifier
    for step in ["", *order]:
        if step == "T":
            log += [(KEY_GRAVE, 1), (KEY_GRAVE, 0)]
            shown, held = not shown, None
        elif step:
            log.append((code, int(step == "P")))
            held = shown if step == "P" else None
        log += [(KEY_Q, 1), (KEY_Q, 0)]
        if not shown:
            letters += changed if held is False else "q"
    return letters, log


def by_hand(machine, modifier, order):
    for step in ["", *order]:
        if step == "T":
            machine.press("KEY_GRAVE", hold=0.01)
        elif step:
            machine.key(modifier, step == "P")
        machine.press("KEY_Q", hold=0.01)


def prompt(picture):
    """Where the line being typed stands in the UI."""
    return picture.crop(32, picture.height - 92, 600, 40)


def written(machine, texts):
    """What the prompt looks like with each of these in it."""
    found = {}
    machine.press("KEY_LEFTCTRL", "KEY_U")
    time.sleep(1)       # what other tests left is gone
    for text in ["", *sorted(set(texts) - {""})]:
        machine.press("KEY_LEFTCTRL", "KEY_U")
        found.setdefault("", prompt(machine.wait_screen(lambda p: is_ui(p) and (not found or prompt(p) == found[""]), 20, "an empty prompt")))
        if text:
            state["rayvm"].ctl("type", text)
            found[text] = prompt(machine.wait_screen(lambda p: is_ui(p) and prompt(p) not in found.values(), 20, f"{text} in the prompt"))
    machine.press("KEY_LEFTCTRL", "KEY_U")
    return found


def modifiers_across_toggles(machine, orders, modifiers):
    ways = [(modifier, order, guest) for modifier in modifiers for order in orders for guest in (False, True)]
    show(machine, False)
    looks = written(machine, [rules(*way)[0] for way in ways])
    for way in ways:
        modifier, order, guest = way
        letters, log = rules(*way)
        show(machine, guest)
        keys = len(events(machine, 1))
        by_hand(machine, modifier, order)
        saw(machine, 1, keys, expected(log, guest))
        show(machine, False)
        machine.wait_screen(lambda p: prompt(p) == looks[letters], 10, f"{letters!r} in the prompt ({modifier}, {order}, {'guest' if guest else 'UI'} first)")
        machine.press("KEY_LEFTCTRL", "KEY_U")
    assert down(machine) == []


def test_modifiers_across_toggles(machine):
    modifiers_across_toggles(machine, ORDERS, ["KEY_LEFTSHIFT"])


def test_other_modifiers_and_orders(machine):
    modifiers_across_toggles(machine, ORDERS, ["KEY_LEFTCTRL"])
    modifiers_across_toggles(machine, MORE_ORDERS, MODIFIERS)


test_other_modifiers_and_orders.suite = "all"       # 24 ways more


def test_touch_screen(machine):
    slot, tracking, x, y, touch = 47, 57, 53, 54, (330, 1)
    plug(machine, "touch", "glass")
    show(machine, True)
    keys = len(events(machine, 1))
    # From one corner to the opposite one, each: what does not change is not reported, and 0 is what the guest begins with.
    play(f"glass 3 {slot} 0 3 {tracking} 5 3 {x} 4095 3 {y} 4095 1 330 1")
    play(f"glass 3 {slot} 1 3 {tracking} 6 3 {x} 4095 3 {y} 2000")
    play(f"glass 3 {slot} 0 3 {x} 0 3 {y} 0")
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
    play(f"glass 3 {slot} 0 3 {x} 100")
    play(f"glass 3 {slot} 0 3 {tracking} -1 3 {slot} 1 3 {tracking} -1 1 330 0")
    show(machine, True)
    play(f"glass 3 {slot} 0 3 {tracking} 7 3 {x} 2000 3 {y} 2000 1 330 1")
    play(f"glass 3 {slot} 0 3 {tracking} -1 1 330 0")
    saw(machine, 1, keys, [touch, (330, 0), touch, (330, 0)])
    assert not any(code == x and value < 30000 for code, value in events(machine, 3, after)), events(machine, 3, after)


def test_ten_thousand_random_keys_and_toggles(machine):
    storm(machine, 10000, 2)


test_ten_thousand_random_keys_and_toggles.suite = "all"     # minutes; test_random_keys_and_toggles has 600
