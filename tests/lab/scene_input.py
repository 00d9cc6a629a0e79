# SPDX-License-Identifier: MIT
"""What src/toggle makes of real evdev devices, by both ways to them: one machine has udevd, the other has not."""

import re

from lab import paths

DISPLAYS = ("virtio-vga",)
DISPLAYS_ALL = ("bochs-display",)   # without udevd; which display it is does not matter
FIFO = "/run/evdump"


def machine(display):
    return {"memory": 1024, "udev": display == "virtio-vga"}


class Dump:
    """evdump in L1, obeying what is written to a FIFO."""

    def __init__(self, machine, backend=None):
        self.machine = machine
        arguments = f" --backend {backend}" if backend else ""
        machine.sh(f"rm -f {FIFO}; mkfifo {FIFO}", check=True)
        self.job = machine.spawn(["/bin/sh", "-c", f"exec {paths.built('tests/tools/evdump')}{arguments} <>{FIFO}"],
                                 log=f"evdump-{backend or 'chosen'}.log")
        self.job.wait_log("^ready$", 30)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.job.stop()
            return
        self.command("quit")
        status = self.job.wait(20)
        assert status == 0, (status, self.job.log_text()[-2000:])

    def command(self, text):
        self.machine.sh(f"echo '{text}' >{FIFO}", check=True)
        self.job.wait_log(f"^ok {text}$", 20, again=True)

    def lines(self, action, until, timeout=20):
        """The lines that ACTION causes, up to the one that matches UNTIL."""
        self.job.mark()
        before = len(self.job.log_text())
        action()
        self.job.wait_log(until, timeout)
        return self.job.log_text()[before:].splitlines()


def backends(machine):
    return ("libinput", "evdev") if machine.options.udev else (None,)


def events(lines):
    """[("KEY_A", 1), ...]; frames are left out."""
    found = (re.match(r"event device=\d+ (\S+) value=(-?\d+) ", line) for line in lines)
    return [(match.group(1), int(match.group(2))) for match in found if match]


def test_backend_is_chosen_by_udev(machine):
    with Dump(machine) as dump:
        wanted = "libinput" if machine.options.udev else "evdev"
        dump.job.wait_log(f"backend {wanted} on seat0", 10, again=True)
        match = dump.job.wait_log(r"^devices keyboards=(\d+) pointers=(\d+)$", 10, again=True)
        assert int(match.group(1)) >= 1 and int(match.group(2)) >= 1, match.group(0)


def test_keys_and_packets(machine):
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            lines = dump.lines(lambda: machine.press("KEY_GRAVE"), "KEY_GRAVE value=0")
            assert events(lines) == [("KEY_GRAVE", 1), ("KEY_GRAVE", 0)], lines
            # Held for longer than the kernel waits before it repeats: no value 2 may come through.
            lines = dump.lines(lambda: machine.press("KEY_A", hold=1.0), "KEY_A value=0")
            assert events(lines) == [("KEY_A", 1), ("KEY_A", 0)], lines
            ages = [int(age) for age in re.findall(r"age_us=(-?\d+)", "\n".join(lines))]
            assert ages and all(0 <= age < 2_000_000 for age in ages), ages
            lines = dump.lines(lambda: machine.press("KEY_LEFTSHIFT", "KEY_F11"), "KEY_LEFTSHIFT value=0")
            assert events(lines) == [("KEY_LEFTSHIFT", 1), ("KEY_F11", 1), ("KEY_F11", 0), ("KEY_LEFTSHIFT", 0)], lines
            # The end of the packet follows its event.
            dump.lines(lambda: machine.key("KEY_B", True), "KEY_B value=1")
            dump.job.wait_log("^frame", 10)
            machine.key("KEY_B", False)


def test_tablet_covers_the_panel(machine):
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            dump.lines(lambda: machine.move(600, 400), "ABS_Y value=")
            found = dict(events(dump.lines(lambda: machine.move(0, 0), "ABS_Y value=0 ")))
            assert found == {"ABS_X": 0, "ABS_Y": 0}, found
            found = dict(events(dump.lines(lambda: machine.move(1279, 799), "ABS_Y value=65")))
            assert found["ABS_X"] >= 65500 and found["ABS_Y"] >= 65500, found
            found = events(dump.lines(machine.click, "BTN_LEFT value=0"))
            assert found == [("BTN_LEFT", 1), ("BTN_LEFT", 0)], found
            lines = dump.lines(lambda: machine.click("wheel-up"), "REL_WHEEL value=1")
            assert events(lines) == [("REL_WHEEL_HI_RES", 120), ("REL_WHEEL", 1)], lines


def test_hot_plug_mouse_and_gone(machine):
    machine.sh("modprobe uinput", check=True)
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            before = int(dump.job.wait_log(r"^devices keyboards=(\d+)", 10, again=True).group(1))
            dump.lines(lambda: dump.command("plug"), f"^devices keyboards={before + 1}")
            lines = dump.lines(lambda: dump.command("move 7 -3"), "^frame")
            assert events(lines) == [("REL_X", 7), ("REL_Y", -3)], lines
            lines = dump.lines(lambda: dump.command("wheel -2"), "REL_WHEEL value")
            assert events(lines) == [("REL_WHEEL_HI_RES", -240), ("REL_WHEEL", -2)], lines
            lines = dump.lines(lambda: dump.command("press 30"), "KEY_A value=1")
            number = re.search(r"device=(\d+)", [line for line in lines if "KEY_A" in line][0]).group(1)
            # Pulled out with the key down: whoever counts keys must hear of it, by a release or by `gone`.
            lines = dump.lines(lambda: dump.command("unplug"), f"^devices keyboards={before} ")
            assert f"gone device={number}" in lines, lines


def test_lost_events_leave_no_key_down(machine):
    """More events than the kernel's queue holds: SYN_DROPPED. Presses and releases balance afterwards."""
    machine.sh("modprobe uinput", check=True)
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            dump.lines(lambda: dump.command("plug"), "^devices keyboards=")
            down = set()
            lines = dump.lines(lambda: (dump.command("flood 4000"), dump.command("press 48"), dump.command("release 48")), "KEY_B value=0", 60)
            taps = 0
            for name, value in events(lines):
                assert (name in down) != (value == 1), (backend, name, value)
                (down.add if value else down.discard)(name)
                taps += name == "KEY_A"
            assert not down, down
            assert taps < 8000, "nothing was lost: the flood is too small to test anything"


def test_suspend_and_resume(machine):
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            match = dump.job.wait_log(r"^devices keyboards=(\d+) pointers=(\d+)$", 10, again=True)
            machine.key("KEY_A", True)
            dump.job.wait_log("KEY_A value=1", 10)
            lines = dump.lines(lambda: dump.command("suspend"), "^devices keyboards=0 pointers=0")
            assert any(line.startswith("gone") for line in lines), lines
            machine.key("KEY_A", False)
            assert events(dump.lines(lambda: (machine.press("KEY_B"), dump.command("list")), "^ok list")) == []
            dump.lines(lambda: dump.command("resume"), f"^{match.group(0)}")
            lines = dump.lines(lambda: machine.press("KEY_B"), "KEY_B value=0")
            assert events(lines) == [("KEY_B", 1), ("KEY_B", 0)], lines


def test_lights(machine):
    for backend in backends(machine):
        with Dump(machine, backend) as dump:
            dump.command("leds 2")
            assert "1" in machine.sh("cat /sys/class/leds/*capslock/brightness", check=True).stdout.split()
            dump.command("leds 0")
            assert "1" not in machine.sh("cat /sys/class/leds/*capslock/brightness", check=True).stdout.split()


def test_no_right_to_any_device(machine):
    for backend in backends(machine):
        # A user without the group "input": there are devices, none may be opened.
        arguments = f"--backend {backend}" if backend else ""
        result = machine.sh(f"setpriv --reuid 65534 --regid 65534 --clear-groups {paths.built('tests/tools/evdump')} {arguments} </dev/null")
        assert result.status == 5, result
        last = result.stderr.splitlines()[-1]
        assert "none of the" in last and "Permission denied" in last, result.stderr
