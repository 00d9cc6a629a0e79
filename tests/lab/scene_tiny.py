# SPDX-License-Identifier: MIT
"""The scene with a real guest on real KVM: a stock kernel with a program that paints known pixels and prints each input event."""

import json
import re
import signal
import time

from lab import desktop
from lab.errors import Skip
from lab.rayvm import Rayvm, console_state, guest_files, is_ui, measure_toggles, tiny

DISPLAYS = ("virtio-vga", "bochs-display")
ISOLATED = ("virtio-vga",)
MACHINE = {"memory": 2560}
K_OFF = 4
KEY_A, KEY_B, KEY_LEFTSHIFT, KEY_GRAVE, KEY_F11, KEY_F12 = 30, 48, 42, 41, 87, 88
TOGGLES = (KEY_GRAVE, KEY_F11, KEY_F12)
# Alt+SysRq+C panics the guest, which then restarts at once, and by a triple fault.
CRASHES = "sysrq_always_enabled panic=-1 reboot=t"
state = {}


def arguments(extra=()):
    files = guest_files("make-tiny")
    return ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-d", "mem:16M",
            "-a", f"console=ttyS0 quiet loglevel=3 tiny.disktest=1 {CRASHES}", "--serial", "file:/lab/guest.log", *extra]


def setup(machine):
    state["rayvm"] = Rayvm(machine, arguments())


def serial(machine):
    path = machine.results / "guest.log"
    return path.read_text(errors="replace") if path.exists() else ""


def said(machine, pattern, timeout=60):
    """Wait for a line of the guest."""
    search = re.compile(pattern, re.MULTILINE)
    machine.wait_for(lambda: search.search(serial(machine)), timeout, f"/{pattern}/ on the guest's serial port",
                     lambda: f"it said:\n{serial(machine)[-1500:]}\nrayvm said:\n{state['rayvm'].job.log_text()[-2000:]}")
    return search.search(serial(machine))


def keys(machine, since=0):
    """Key events the guest saw, as (code, value), from the SINCE-th on."""
    return [(int(code), int(value)) for code, value in re.findall(r"^TINY:EV \S+ 1 (\d+) (\d+)$", serial(machine), re.MULTILINE)][since:]


def balanced(events):
    """No press without its release, none twice."""
    held = set()
    for code, value in events:
        if (value == 1) == (code in held):
            return False
        held ^= {code}
    return not held


def show_guest(machine):
    machine.press("KEY_F11")
    return tiny(machine.wait_screen(tiny, 10, "the guest's picture"))


def show_ui(machine):
    machine.press("KEY_F12")
    return machine.wait_screen(is_ui, 10, "the UI")


def test_boots_hidden_in_the_background(machine):
    rayvm = state["rayvm"]
    state["ui"] = rayvm.ready()
    assert rayvm.presentations() == []
    rayvm.marker("VIRTIO_BLK:DISK_INIT_MEMORY", 20)


def test_asking_before_the_first_frame_shows_guidance(machine):
    """R-3: a placeholder that says what is awaited, never a black screen."""
    rayvm = state["rayvm"]
    if rayvm.status()["scanout"]["width"]:
        raise Skip("this machine was faster than the question")
    machine.press("KEY_F11")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
    picture = machine.screendump()
    picture.save(machine.results / "placeholder.png")
    assert not picture.is_uniform() and not picture.is_black()
    machine.press("KEY_F12")
    rayvm.marker("LINUX_PRESENTATION:HIDDEN", 10)
    machine.wait_screen(is_ui, 10, "the UI")


def test_guest_paints_and_its_devices_are_there(machine):
    rayvm = state["rayvm"]
    said(machine, r"^TINY:PAINTED uptime=", 120)
    said(machine, r"^TINY:READY", 60)
    rayvm.marker("VIRTIO_GPU:FRAME_READY:1", 20)
    size = machine.screendump().size
    mode = said(machine, r"^TINY:MODE (\d+)x(\d+)")
    assert (int(mode[1]), int(mode[2])) == size, f"the guest chose {mode[1]}x{mode[2]} on a panel of {size}"
    names = re.findall(r"^TINY:DEV \S+ (.*)$", serial(machine), re.MULTILINE)
    assert sum("rayvm" in name for name in names) == 4, names
    said(machine, r"^TINY:DISK vda 16777216")
    said(machine, r"^TINY:DISKTEST ok")
    assert "TINY:ERROR" not in serial(machine), serial(machine)


def test_the_key_shows_exact_pixels(machine):
    rayvm = state["rayvm"]
    show_ui(machine)
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
    rayvm.marker("RAYOS_LINUX_DESKTOP_PRESENTED:ok:", 20)
    rayvm.marker("RAYOS_LINUX_DESKTOP_FIRST_FRAME:ok:", 20)
    picture = machine.wait_screen(tiny, 10, "the guest's picture")
    picture.save(machine.results / "guest.png")
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:HIDDEN", 10)
    machine.wait_screen(is_ui, 10, "the UI").save(machine.results / "ui.png")


def test_guest_runs_on_while_hidden(machine):
    first = show_guest(machine).counter
    show_ui(machine)
    time.sleep(4)
    second = show_guest(machine).counter
    show_ui(machine)
    assert second - first >= 10, f"counter {first}, then {second} after 4 seconds hidden at 5 frames a second"


def test_keys_go_to_the_side_that_is_shown(machine):
    show_ui(machine)
    before = len(keys(machine))
    ui = machine.screendump()
    machine.type("ab")
    machine.wait_screen(lambda p: is_ui(p) and p.difference(ui) > 50, 10, "the typed letters in the UI")
    assert keys(machine, before) == [], keys(machine, before)
    show_guest(machine)
    machine.type("ab")
    machine.wait_for(lambda: len(keys(machine)) >= before + 4, 10, "the keys in the guest", lambda: serial(machine)[-800:])
    assert keys(machine, before) == [(KEY_A, 1), (KEY_A, 0), (KEY_B, 1), (KEY_B, 0)], keys(machine, before)
    show_ui(machine)
    machine.press("KEY_BACKSPACE")
    machine.press("KEY_BACKSPACE")


def test_a_key_held_at_the_toggle_is_released_there_and_stays_swallowed(machine):
    """U-1, U-2, both ways."""
    show_guest(machine)
    before = len(keys(machine))
    machine.key("KEY_LEFTSHIFT", True)
    machine.key("KEY_A", True)
    machine.wait_for(lambda: len(keys(machine)) >= before + 2, 10, "two presses in the guest")
    machine.press("KEY_GRAVE")
    machine.wait_screen(is_ui, 10, "the UI")
    machine.wait_for(lambda: len(keys(machine)) >= before + 4, 10, "the releases in the guest", lambda: serial(machine)[-800:])
    machine.key("KEY_A", False)
    machine.key("KEY_LEFTSHIFT", False)
    machine.key("KEY_B", True)          # pressed in the UI ...
    machine.press("KEY_F11")
    machine.wait_screen(tiny, 10, "the guest's picture")
    machine.key("KEY_B", False)         # ... released in the guest: swallowed
    machine.press("KEY_A")
    machine.wait_for(lambda: len(keys(machine)) >= before + 6, 10, "the last key in the guest", lambda: serial(machine)[-800:])
    seen = keys(machine, before)
    assert balanced(seen), seen
    assert sorted(seen[:4]) == sorted([(KEY_LEFTSHIFT, 1), (KEY_A, 1), (KEY_LEFTSHIFT, 0), (KEY_A, 0)]), seen
    assert seen[4:] == [(KEY_A, 1), (KEY_A, 0)], seen
    show_ui(machine)
    machine.press("KEY_BACKSPACE")


def test_pointer_reaches_the_corners(machine):
    show_guest(machine)
    machine.move(0, 0)
    machine.move(639, 400)
    machine.move(100000, 100000)
    said(machine, r"^TINY:EV \S+ 3 0 65535$", 10)
    said(machine, r"^TINY:EV \S+ 3 1 65535$", 10)
    before = serial(machine).count(" 1 272 1")
    machine.click()
    machine.wait_for(lambda: serial(machine).count(" 1 272 1") > before, 10, "the click in the guest")
    show_ui(machine)


def test_injected_keys_take_the_same_path(machine):
    rayvm = state["rayvm"]
    show_ui(machine)
    before, changes = len(keys(machine)), len(rayvm.presentations())
    rayvm.ctl("press", "KEY_GRAVE")
    machine.wait_screen(tiny, 10, "the guest's picture")
    rayvm.ctl("type", "a")
    rayvm.ctl("press", "--guest", "KEY_GRAVE")      # typed into the guest, toggles nothing
    machine.wait_for(lambda: len(keys(machine)) >= before + 4, 10, "the keys in the guest")
    rayvm.ctl("show", "ui")
    machine.wait_screen(is_ui, 10, "the UI")
    assert keys(machine, before) == [(KEY_A, 1), (KEY_A, 0), (KEY_GRAVE, 1), (KEY_GRAVE, 0)], keys(machine, before)
    assert rayvm.presentations()[changes:] == ["PRESENTED", "HIDDEN"]
    refused = rayvm.ctl("type", "caf\u00e9", check=False)
    assert refused.status == 1 and "character" in refused.stderr, refused


def test_200_toggles(machine):
    """No key stuck, none on the wrong side, no wrong frame, no modeset; latency printed as a histogram's summary."""
    rayvm = state["rayvm"]
    show_ui(machine)
    before = len(keys(machine))
    wrong = []

    def between(number):
        if number % 10 == 0:
            for picture in machine.burst(2):
                if not is_ui(picture) and not tiny(picture):
                    wrong.append(number)
                    picture.save(machine.results / f"wrong-{number}.png")
        elif number % 2 == 0:
            machine.press("KEY_A", hold=0.005)

    stats = measure_toggles(machine, rayvm, between)
    (machine.results / "stats.json").write_text(json.dumps(stats, indent=1))
    machine.wait_screen(is_ui, 10, "the UI after an even number of toggles")
    time.sleep(1)
    seen = keys(machine, before)
    assert not wrong, f"after toggles {wrong} the screen held neither face (wrong-*.png)"
    assert balanced(seen), seen
    assert not [code for code, _ in seen if code in TOGGLES], seen


def test_pixels_are_copied_at_most_once(machine):
    rayvm = state["rayvm"]
    show_guest(machine)
    time.sleep(1)
    rayvm.stats(reset=True)
    time.sleep(4)
    stats = rayvm.stats()
    show_ui(machine)
    print(f"         copied {stats['bytes_copied']} of {stats['bytes_damaged']} damaged bytes, {stats['frames_presented']} frames", flush=True)
    assert stats["frames_presented"] > 5, stats
    # At most once into each of the two scanout buffers, or once into the one that is on the screen.
    limit = (1 if machine.options.display == "virtio-vga" else 2) + 1 / stats["frames_presented"]   # the first one may have been counted before
    assert 0 < stats["bytes_copied"] <= limit * stats["bytes_damaged"], stats


def test_a_guest_that_crashes_leaves_the_panel(machine):
    """I6: a triple fault is a state of the VM's, with a placeholder that says so, and toggles go on."""
    rayvm, boots = state["rayvm"], serial(machine).count("TINY:READY")
    show_guest(machine)
    rayvm.ctl("press", "--guest", "KEY_LEFTALT+KEY_SYSRQ+KEY_C")
    rayvm.wait("vm:crashed", 30)

    def is_placeholder(picture):
        return desktop.is_placeholder(picture, state["ui"]) and not tiny(picture)

    machine.wait_screen(is_placeholder, 10, "the placeholder").save(machine.results / "crashed.png")
    status, modesets, changes = rayvm.status(), rayvm.stats()["modesets"], len(rayvm.presentations())
    assert status["presentation"] == "presented" and status["scanout"]["width"] == 0, status
    assert "triple fault" in status["lines"]["vm"]["text"], status["lines"]
    for _ in range(5):
        machine.press("KEY_GRAVE")
        machine.wait_screen(is_ui, 10, "the UI")
        machine.press("KEY_GRAVE")
        machine.wait_screen(is_placeholder, 10, "the placeholder")
    assert rayvm.presentations()[changes:] == ["HIDDEN", "PRESENTED"] * 5 and rayvm.stats()["modesets"] == modesets
    assert rayvm.status()["vm"] == "crashed", "a show request does not start a VM that crashed"
    # Either command brings it back; each display tries one.
    rayvm.ctl("vm", "reset" if machine.options.display == "bochs-display" else "start")
    machine.wait_screen(tiny, 120, "the guest's picture after its crash")
    machine.wait_for(lambda: serial(machine).count("TINY:READY") > boots, 60, "all of the guest", lambda: serial(machine)[-500:])
    assert rayvm.status()["vm"] == "running"
    show_ui(machine)


def test_reset_and_poweroff_by_command(machine):
    rayvm = state["rayvm"]
    boots = serial(machine).count("TINY:READY")
    rayvm.ctl("vm", "reset")
    # READY: the driver of the power button listens; a press before that is lost, as on any machine.
    machine.wait_for(lambda: serial(machine).count("TINY:READY") > boots, 120, "the guest after its reset", lambda: serial(machine)[-500:])
    rayvm.ctl("vm", "powerdown")
    rayvm.wait("vm:stopped", 60)
    machine.press("KEY_F11")            # showing starts a VM that was stopped
    machine.wait_screen(tiny, 120, "the guest after showing started it")
    rayvm.ctl("vm", "stop")
    rayvm.wait("vm:stopped", 20)
    picture = machine.screendump()
    assert not picture.is_black() and not tiny(picture), "a stopped guest must leave the placeholder"
    picture.save(machine.results / "stopped.png")
    show_ui(machine)


test_reset_and_poweroff_by_command.displays = ("virtio-vga",)   # two more starts of the guest


def test_no_other_program_is_involved(machine):
    """S0-4: one process, its seat helper, and no socket but the control socket."""
    rayvm = state["rayvm"]
    children = machine.sh(f"cat /proc/{rayvm.job.pid}/task/*/children", check=True).stdout.split()
    for child in children:
        assert machine.sh(f"readlink /proc/{child}/exe").stdout.strip().endswith("/rayvm"), child
    assert "qemu" not in machine.sh("ps ax -o args= 2>/dev/null || cat /proc/*/cmdline | tr '\\0' ' '").stdout.replace("rayvm-lab", "")


def test_seats_helper_holds_nothing_of_the_guest(machine):
    """It lives as long as the console and was forked from the program: before anything of the guest's was open."""
    rayvm = state["rayvm"]
    children = [int(pid) for pid in machine.sh(f"cat /proc/{rayvm.job.pid}/task/*/children", check=True).stdout.split()]
    helpers = [pid for pid in children if machine.read_file(f"/proc/{pid}/comm").decode().strip() != "rayvm-spawner"]
    assert len(helpers) == 1, helpers
    held = machine.sh(f"ls -l /proc/{helpers[0]}/fd", check=True).stdout + machine.read_file(f"/proc/{helpers[0]}/maps").decode()
    assert not re.search(r"guest-ram|/dev/kvm|kvm-v|/vmlinuz|/initrd|memfd:disk|guest\.log", held), held


def test_sigterm(machine):
    rayvm = state["rayvm"]
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)


def test_kill_of_the_whole_group_under_the_units_settings(machine):
    """The helper dies too; what the unit runs afterwards gives the console back."""
    from lab import paths
    rayvm = Rayvm(machine, arguments(), log="group.log", cgroup="rayvm-kill")
    rayvm.ready()
    assert console_state(machine) == (False, K_OFF)
    machine.sh("echo 1 > /sys/fs/cgroup/rayvm-kill/cgroup.kill", check=True)
    rayvm.job.wait(20)
    machine.run([str(paths.built("src/rayvm-console-restore")), "/dev/tty1"], check=True)
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
    assert rayvm.job.status == -signal.SIGKILL
