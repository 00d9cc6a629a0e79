# SPDX-License-Identifier: MIT
"""More than one monitor, one that goes off and on, and what another program left on the card."""

import re
import time

from lab import paths
from lab.picture import Picture
from lab.rayvm import Rayvm, console_state, is_pattern, is_ui, synthetic

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 1024, "heads": 2, "size": (1024, 768)}
PATTERN = ["--features", "dev_scanout"]
state = {}

# Puts a pointer on a CRTC, as a display server does, and ends without taking it away. Becomes master because nobody is.
LEAVE_A_CURSOR = """
import fcntl, os, struct, sys
fd = os.open("/dev/dri/card0", os.O_RDWR)
dumb = bytearray(struct.pack("=IIIIIIQ", 64, 64, 32, 0, 0, 0, 0))
fcntl.ioctl(fd, 0xc02064b2, dumb)       # DRM_IOCTL_MODE_CREATE_DUMB
handle = struct.unpack("=IIIIIIQ", dumb)[4]
fcntl.ioctl(fd, 0xc01c64a3, struct.pack("=IIiiIII", 1, int(sys.argv[1]), 20, 20, 64, 64, handle))   # DRM_IOCTL_MODE_CURSOR, set the picture
"""


def setup(machine):
    machine.sh("mount -t debugfs none /sys/kernel/debug 2>/dev/null; test -r /sys/kernel/debug/dri/0/state", check=True)
    machine.sh("printf '#!/bin/sh\\ncat /sys/class/drm/card0-Virtual-$1/$2\\n' >/run/connector; chmod +x /run/connector", check=True)
    machine.resize_head(1, 1024, 768)
    machine.wait_for(lambda: connector(machine, 2, "status") == "connected", 20, "the second monitor", interval=0.3)


def connector(machine, number, name):
    return machine.sh(f"/run/connector {number} {name}", check=True).stdout.strip()


def planes(machine):
    """What each plane shows, in the kernel's order: (name, CRTC or None)."""
    text = machine.sh("cat /sys/kernel/debug/dri/0/state", check=True).stdout
    return [(name, None if crtc == "(null)" else crtc) for name, crtc in re.findall(r"^plane\[\d+\]: (\S+)\n\tcrtc=(\S+)", text, re.M)]


def crtc_id(machine, name):
    text = machine.sh("cat /sys/kernel/debug/dri/0/state", check=True).stdout
    return re.search(rf"^crtc\[(\d+)\]: {name}$", text, re.M)[1]


def names(rayvm):
    return [(output["name"], output["mirror"]) for output in rayvm.status()["outputs"]]


def second(machine, accept, what):
    return machine.wait_screen(accept, 20, f"{what} on the second head", interval=0.2, head=1)


def both(machine, accept, what):
    machine.wait_screen(accept, 20, f"{what} on the first head")
    second(machine, accept, what)


def dpms(machine):
    return connector(machine, 1, "dpms"), connector(machine, 2, "dpms")


def test_the_second_monitor_mirrors_the_first(machine):
    state["rayvm"] = rayvm = Rayvm(machine, PATTERN)
    rayvm.ready()
    both(machine, is_ui, "the UI")
    assert names(rayvm) == [("Virtual-1", False), ("Virtual-2", True)], rayvm.status()
    machine.press("KEY_F11")
    both(machine, is_pattern, "the pattern")
    machine.screendump(head=1).save(machine.results / "mirror.png")
    # It flips on, both of them, with nothing lost.
    before = rayvm.stats()
    time.sleep(2)
    after = rayvm.stats()
    assert after["frames_presented"] > before["frames_presented"] + 20, (before, after)
    assert after["modesets"] == before["modesets"], (before, after)
    machine.press("KEY_F12")
    both(machine, is_ui, "the UI")


def test_monitors_come_and_go(machine):
    rayvm = state["rayvm"]

    def outputs(*wanted):
        machine.wait_for(lambda: names(rayvm) == list(wanted), 20, f"outputs {wanted}", lambda: str(rayvm.status()), interval=0.3)

    machine.resize_head(1, 800, 600)            # exchanged: this one has the size only at a lower refresh, so it is off
    outputs(("Virtual-1", False))
    machine.wait_for(lambda: dpms(machine) == ("On", "Off"), 10, "the second one to be off", lambda: str(dpms(machine)), interval=0.3)
    machine.resize_head(1, 1024, 768)
    outputs(("Virtual-1", False), ("Virtual-2", True))
    machine.resize_head(1, 0, 0)
    outputs(("Virtual-1", False))
    machine.resize_head(1, 1024, 768)
    outputs(("Virtual-1", False), ("Virtual-2", True))
    machine.resize_head(0, 1024, 768)           # QEMU ignores a first size that equals what it never was told: zero
    time.sleep(0.5)
    machine.resize_head(0, 0, 0)                # the main one: the other takes over
    outputs(("Virtual-2", False))
    second(machine, is_ui, "the UI")
    machine.resize_head(0, 1024, 768)           # it comes back and mirrors; the picture does not jump
    outputs(("Virtual-2", False), ("Virtual-1", True))
    both(machine, is_ui, "the UI")
    machine.resize_head(1, 0, 0)
    outputs(("Virtual-1", False))
    machine.wait_screen(is_ui, 20, "the UI")
    machine.resize_head(1, 1024, 768)
    outputs(("Virtual-1", False), ("Virtual-2", True))


def test_the_screen_goes_off_and_a_key_wakes_it(machine):
    rayvm = state["rayvm"]
    assert dpms(machine) == ("On", "On")
    rayvm.ctl("display", "off")
    assert dpms(machine) == ("Off", "Off")
    assert rayvm.status()["display"] == "off"
    machine.screendump().save(machine.results / "off.png")
    before = rayvm.stats()
    time.sleep(1)
    assert rayvm.stats()["commits"] == before["commits"]
    machine.press("KEY_X")                      # swallowed
    machine.wait_for(lambda: dpms(machine) == ("On", "On"), 10, "the screens to be on", interval=0.2)
    both(machine, is_ui, "the UI")
    assert rayvm.stats()["modesets"] == before["modesets"] + 1
    rayvm.ctl("display", "off")
    machine.press("KEY_F11")                    # wakes and acts
    both(machine, is_pattern, "the pattern")
    assert rayvm.stats()["modesets"] == before["modesets"] + 2
    machine.press("KEY_F12")


def terminal(machine, number, session):
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", f"KEY_F{number}")
    machine.wait_for(lambda: state["rayvm"].status()["session"] == session, 20, f"an {session} session", interval=0.2)


def test_off_over_a_terminal_switch_and_an_unplugged_monitor(machine):
    rayvm = state["rayvm"]
    rayvm.ctl("display", "off")
    machine.resize_head(1, 0, 0)
    machine.wait_for(lambda: names(rayvm) == [("Virtual-1", False)], 20, "one output", interval=0.3)
    machine.press("KEY_X")
    machine.wait_for(lambda: dpms(machine) == ("On", "Off"), 10, "the first screen to be on", lambda: str(dpms(machine)), interval=0.3)
    assert "does not let go" not in rayvm.job.log_text(), rayvm.job.log_text()[-2000:]
    rayvm.ctl("display", "off")
    machine.resize_head(1, 1024, 768)
    machine.wait_for(lambda: len(names(rayvm)) == 2, 20, "two outputs", interval=0.3)
    assert rayvm.status()["display"] == "off" and dpms(machine) == ("Off", "Off"), (rayvm.status(), dpms(machine))
    terminal(machine, 2, "inactive")
    machine.wait_screen(lambda p: not is_ui(p), 20, "the text terminal")
    done = rayvm.ctl("display", "off", check=False)
    assert done.status == 1 and "another session" in done.stderr, done
    terminal(machine, 1, "active")
    both(machine, is_ui, "the UI")
    assert rayvm.status()["display"] == "on"


def test_what_another_program_left_is_cleared(machine):
    terminal(machine, 2, "inactive")
    machine.run(["/usr/bin/python3", "-c", LEAVE_A_CURSOR, crtc_id(machine, "crtc-0")], check=True)
    left = planes(machine)
    assert len([crtc for _, crtc in left if crtc == "crtc-0"]) == 2, left
    terminal(machine, 1, "active")
    machine.wait_screen(is_ui, 20, "the UI")
    machine.wait_for(lambda: len([crtc for _, crtc in planes(machine) if crtc == "crtc-0"]) == 1, 10, "the pointer to be gone",
                     lambda: str(planes(machine)), interval=0.3)
    assert state["rayvm"].quit() == 0, state["rayvm"].job.log_text()[-2000:]
    assert console_state(machine)[0], "text mode"


def test_by_name(machine):
    with Rayvm(machine, [*PATTERN, "--connector", "Virtual-2", "--mode", "1234x567"], log="named.log") as rayvm:
        rayvm.listening()
        second(machine, is_ui, "the UI")
        assert names(rayvm)[0] == ("Virtual-2", False), rayvm.status()
        said = [line for line in rayvm.job.log_text().splitlines() if "--mode 1234x567" in line]
        assert len(said) == 1 and "Virtual-2 has no such mode, taking 1024x768" in said[0] and "1920x1080@60" in said[0], said
        assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]


def _is_second_pattern(picture):
    """The pattern of the guest's second head, in red, with a picture's own size."""
    number, (red, green, blue) = synthetic(picture), picture.pixel(picture.size[0] // 16, picture.size[1] * 3 // 4)
    return number is not None and red > green + 0x30 and red > blue + 0x30


def test_extended_to_the_second_monitor(machine):
    machine.resize_head(1, 800, 600)
    with Rayvm(machine, [*PATTERN, "--outputs", "extend"], log="extend.log") as rayvm:
        rayvm.ready()

        def outputs(*wanted):
            machine.wait_for(lambda: names(rayvm) == [(name, False) for name in wanted], 20, f"outputs {wanted}", lambda: str(rayvm.status()), interval=0.3)

        outputs("Virtual-1", "Virtual-2")
        machine.wait_screen(is_ui, 20, "the UI")
        second(machine, Picture.is_black, "nothing").save(machine.results / "extend-hidden.png")
        sizes = [(output["width"], output["height"]) for output in rayvm.status()["outputs"]]
        assert sizes == [(1024, 768), (800, 600)], sizes
        machine.press("KEY_F11")
        machine.wait_screen(lambda p: is_pattern(p) and not _is_second_pattern(p), 20, "the pattern").save(machine.results / "extend-first.png")
        picture = second(machine, _is_second_pattern, "its own pattern")
        picture.save(machine.results / "extend-second.png")
        assert picture.size == (800, 600), picture.size
        assert [(s["width"], s["height"]) for s in rayvm.status()["scanouts"]] == [(1024, 768), (800, 600), (0, 0), (0, 0)], rayvm.status()
        # Both go on, each in its own time, and nothing is set anew.
        before, number = rayvm.stats(), synthetic(picture)
        time.sleep(2)
        after = rayvm.stats()
        assert after["frames_presented"] > before["frames_presented"] + 20 and after["modesets"] == before["modesets"], (before, after)
        assert synthetic(machine.screendump(head=1)) > number + 20
        # The second one is pulled out and put back, into another mode.
        machine.resize_head(1, 0, 0)
        outputs("Virtual-1")
        machine.wait_for(lambda: rayvm.status()["scanouts"][1]["width"] == 0, 10, "the head to go", interval=0.2)
        machine.wait_screen(is_pattern, 20, "the pattern")
        machine.resize_head(1, 640, 480)
        outputs("Virtual-1", "Virtual-2")
        assert second(machine, _is_second_pattern, "its own pattern").size == (640, 480)
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 20, "the UI")
        second(machine, Picture.is_black, "nothing")
        rayvm.ctl("display", "off")
        assert dpms(machine) == ("Off", "Off")
        machine.press("KEY_F11")
        machine.wait_screen(is_pattern, 20, "the pattern")
        second(machine, _is_second_pattern, "its own pattern")
        # The main one goes: the other is the main one, and not a further one any more.
        machine.resize_head(0, 1024, 768)
        time.sleep(0.5)
        machine.resize_head(0, 0, 0)
        outputs("Virtual-2")
        second(machine, lambda p: is_pattern(p) and not _is_second_pattern(p), "the first pattern")
        machine.resize_head(0, 1024, 768)
        outputs("Virtual-2", "Virtual-1")
        machine.wait_screen(_is_second_pattern, 20, "the second pattern")
        assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    machine.resize_head(1, 1024, 768)
    assert console_state(machine)[0], "text mode"


def test_connectors_and_cards_that_do_not_exist(machine):
    for words, texts in ((["--connector", "HDMI-A-7"], ("--connector HDMI-A-7", "Virtual-1 (connected), Virtual-2 (connected)")),
                         (["--card", "/dev/null"], ("/dev/null", "no display card", "there is /dev/dri/card0"))):
        for more in (PATTERN, ["--probe-panel=1"]):
            job = machine.spawn([str(paths.built("src/rayvm")), "--control", "/run/rayvm.sock", "--markers", "/dev/null", *words, *more],
                                log="missing.log", tty="/dev/tty1", env={"LIBSEAT_BACKEND": "builtin"})
            assert job.wait(30) == 4, job.log_text()
            lines = job.log_text().replace("\r", "").splitlines()
            assert len(lines) == 1 and all(text in lines[0] for text in texts), lines
    done = machine.run([str(paths.built("src/rayvm")), "--check", *PATTERN, "--connector", "HDMI-A-7"])
    assert done.status == 4 and "Virtual-1 (connected)" in done.stdout, done
