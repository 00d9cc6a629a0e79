# SPDX-License-Identifier: MIT
"""What can be wrong or missing around card, seat and devices: refusals that leave the console as it was, and states that are lived with."""

import re
import signal
import time

from lab import paths
from lab.rayvm import Rayvm, console_state, guest_files, is_pattern, is_ui

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 1536, "keyboard": "usb", "pointer": False}
PATTERN = ["--features", "dev_scanout"]
HELLO = "the console is untouched"
DISPLAY, INPUT = 4, 5

# Opens the card, is its master, and says so on a line.
MASTER = """
import fcntl, os, time
fd = os.open("/dev/dri/card0", os.O_RDWR)
fcntl.ioctl(fd, 0x641e)     # DRM_IOCTL_SET_MASTER
print("master", flush=True)
time.sleep(600)
"""
# The same, as a question: can somebody become master now?
MASTER_IS_FREE = 'import fcntl, os; fcntl.ioctl(os.open("/dev/dri/card0", os.O_RDWR), 0x641e)'


def rows(machine):
    """The text on the first terminal."""
    return machine.read_file("/dev/vcs1").decode(errors="replace")


def setup(machine):
    machine.sh(f"echo '{HELLO}' >/dev/tty1", check=True)
    assert HELLO in rows(machine)


def start(machine, words, log, prefix=(), env=None, user=None):
    """rayvm on the first terminal; PREFIX goes before it."""
    argv = [*prefix, str(paths.built("src/rayvm")), "--control", "/run/rayvm.sock", "--markers", f"/lab/{log}.markers", *words]
    if user:
        argv = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    return machine.spawn(argv, log=log, tty="/dev/tty1", env={"LIBSEAT_BACKEND": "builtin", **(env or {})})


def refused(machine, status, texts, words, log, before=None, seconds=30, waits=False, **options):
    """The start ends with STATUS and one line with all TEXTS in it; the console is what it was. WAITS: another line says before what it waits for."""
    before = before or console_state(machine)
    job = start(machine, words, log, **options)
    ended = job.wait(seconds)
    said = job.log_text().replace("\r", "")
    assert ended == status, f"status {ended}, wanted {status}; it said:\n{said}"
    lines = said.splitlines()
    if waits:
        assert "waiting for a display card" in lines.pop(0), f"wanted a line that says what it waits for, it said:\n{said}"
    assert len(lines) == 1 and lines[0].startswith("rayvm: "), f"wanted one line, it said:\n{said}"
    for text in texts:
        assert text in lines[0], f"wanted '{text}' in: {said}"
    assert console_state(machine) == before, f"console {console_state(machine)}, before {before}"
    assert HELLO in rows(machine), rows(machine)
    assert not machine.exists("/run/rayvm.sock")
    return lines[0]


def test_check_says_it_would_start_and_takes_nothing(machine):
    before = console_state(machine)
    done = machine.run([str(paths.built("src/rayvm")), "--check", *PATTERN])
    assert done.status == 0 and "rayvm would start" in done.stdout and "1 connected output" in done.stdout, done
    assert console_state(machine) == before
    machine.run(["/usr/bin/python3", "-c", MASTER_IS_FREE], check=True)


def test_another_master(machine):
    """libseat hands the card out even then."""
    holder = machine.spawn(["/usr/bin/python3", "-u", "-c", MASTER], log="master.log")
    try:
        holder.wait_log("^master", 20)
        refused(machine, DISPLAY, ("another program holds the display", "--card"), PATTERN, "held.log")
        done = machine.run([str(paths.built("src/rayvm")), "--check", *PATTERN])
        assert done.status == DISPLAY and "another program holds the display" in done.stdout, done
    finally:
        holder.stop()
        machine.wait_for(lambda: holder.status is not None, 10, "the holder's end")


def test_no_permission(machine):
    refused(machine, INPUT, ("no seat", "root", "seatd"), ["--control", "/tmp/nobody.sock", "--markers", "/dev/null", *PATTERN], "nobody.log", user=65534)
    done = machine.run(["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(paths.built("src/rayvm")), "--check", *PATTERN])
    assert done.status == INPUT and "no right to a card" in done.stdout, done


def test_no_such_card(machine):
    refused(machine, DISPLAY, ("/dev/null", "no display card"), ["--card", "/dev/null", *PATTERN], "null.log")
    begin = time.monotonic()
    refused(machine, DISPLAY, ("/dev/dri/card7", "--card"), ["--card", "/dev/dri/card7", *PATTERN], "card7.log", waits=True)
    assert time.monotonic() - begin >= 9, "it did not wait for the card to appear"


def test_no_card_at_all(machine):
    """No display hardware: within 10 s it says so."""
    hide = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", 'mount -t tmpfs none /sys/class/drm && mount -t tmpfs none /dev/dri && exec "$0" "$@"']
    begin = time.monotonic()
    refused(machine, DISPLAY, ("no card", "10 s", "--display headless"), PATTERN, "nocard.log", prefix=hide, waits=True)
    assert 9 <= time.monotonic() - begin < 20


def test_asked_to_end_while_it_waits(machine):
    before = console_state(machine)
    for number in (signal.SIGTERM, signal.SIGHUP):
        job = start(machine, ["--card", "/dev/dri/card7", *PATTERN], f"asked{int(number)}.log")
        machine.wait_for(lambda: console_state(machine) == (False, 4), 20, "rayvm to hold the seat", job.log_text, interval=0.3)
        begin = time.monotonic()
        job.signal(number)
        assert job.wait(20) == 0 and time.monotonic() - begin < 5, job.log_text()
        assert len(job.log_text().splitlines()) == 1 and "waiting for a display card" in job.log_text(), job.log_text()
        assert console_state(machine) == before


def test_no_input_device_may_be_opened(machine):
    # Nodes on a file system mounted nodev: there, and refused to everybody.
    script = ('cd /dev/input && ls -l event* | while read -r mode links user group major minor rest; do echo "${rest##* } ${major%,} $minor"; done >/run/nodes; '
              'cd / && mount -t tmpfs -o nodev none /dev/input && while read -r name major minor; do mknod "/dev/input/$name" c "$major" "$minor"; done </run/nodes; '
              'exec "$0" "$@"')
    hide = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script]
    line = refused(machine, INPUT, ("input devices may be opened", "Permission denied", "root"), PATTERN, "noinput.log", prefix=hide)
    assert re.search(r"none of the \d+ input devices", line), line


def keyboards(rayvm, count):
    rayvm.machine.wait_for(lambda: rayvm.status()["keyboards"] == count, 20, f"{count} keyboards", lambda: str(rayvm.status()), interval=0.3)


def says_no_keyboard(picture):
    """Something at the right of the banner in the colour of what is wrong."""
    return picture.crop(picture.width // 2, 0, picture.width // 2, 64).fraction((0xf2, 0x63, 0x5f), 3) > 0.001


def test_a_seat_without_keyboard_is_a_state(machine):
    """It runs on and says so; a keyboard plugged in later works at once."""
    machine.device_del("keyboard0")
    machine.sh("for d in /sys/bus/serio/drivers/atkbd/serio*; do basename $d >/sys/bus/serio/drivers/atkbd/unbind; done", check=True)
    with Rayvm(machine, PATTERN, log="nokeys.log") as rayvm:
        rayvm.ready()
        status = rayvm.status()
        assert status["keyboards"] == 0 and "no keyboard" in status["lines"]["input"]["text"], status
        picture = machine.wait_screen(lambda p: is_ui(p) and says_no_keyboard(p), 10, "the UI to say that there is no keyboard")
        picture.save(machine.results / "no-keyboard.png")
        machine.device_add("usb-kbd", "plugged")
        keyboards(rayvm, 1)
        machine.wait_screen(lambda p: is_ui(p) and not says_no_keyboard(p), 10, "the UI to say no more that there is no keyboard")
        machine.press("KEY_F11")
        rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
        machine.wait_screen(is_pattern, 10, "the pattern")
        machine.device_del("plugged")
        keyboards(rayvm, 0)
        machine.device_add("usb-kbd", "again")
        keyboards(rayvm, 1)
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 10, "the UI")
        assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]


def test_a_card_without_monitor_is_a_state(machine):
    """It runs on and says so; a monitor plugged in later gets the picture, in its own size."""
    machine.resize_head(0, 1024, 768)   # QEMU ignores a first size that equals what it never was told: zero
    time.sleep(0.5)
    machine.resize_head(0, 0, 0)
    machine.wait_for(lambda: machine.sh("cat /sys/class/drm/card0-Virtual-1/status", check=True).stdout == "disconnected\n", 20,
                     "the head to be unplugged", interval=0.3)
    try:
        rayvm = Rayvm(machine, PATTERN, log="nomonitor.log")
        rayvm.marker("DEV_SCANOUT:enabled", 40)
        machine.wait_for(lambda: machine.exists("/run/rayvm.sock"), 20, "the control socket", interval=0.2)
        status = rayvm.status()
        assert not [output for output in status["outputs"] if output.get("width")], status
        assert "no monitor" in status["lines"]["display"]["text"], status
    finally:
        machine.resize_head(0, 1024, 768)
    with rayvm:
        machine.wait_screen(lambda p: p.size == (1024, 768) and is_ui(p), 20, "the UI on the new monitor")
        assert rayvm.status()["outputs"][0]["width"] == 1024
        machine.resize_head(0, 0, 0)
        machine.wait_for(lambda: "no monitor" in rayvm.status()["lines"]["display"]["text"], 20, "the news of the unplugged monitor",
                         lambda: str(rayvm.status()), interval=0.3)
        assert rayvm.job.status is None
        machine.resize_head(0, 1280, 800)
        machine.wait_screen(lambda p: p.size == (1280, 800) and is_ui(p), 20, "the UI on the monitor that came back")
        assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    text, keyboard = console_state(machine)
    assert text and keyboard != 4, (text, keyboard)


def test_without_a_display_the_end_of_the_guest_is_the_end(machine):
    """Serial port on stdio, nothing else; the guest's power-off ends it with 0, its reboot as asked for."""
    files = guest_files("make-tiny")
    machine.sh("mkfifo /run/typed", check=True)
    for how, options in (("poweroff", ()), ("reboot", ("--on-reboot", "exit"))):
        before = console_state(machine)
        job = machine.spawn(["/bin/sh", "-c", 'exec "$0" "$@" <>/run/typed', str(paths.built("src/rayvm")), "--display", "none",
                             "--control", "/run/rayvm.sock", "-m", "256M", "-s", "1", "-k", files["vmlinuz"], "-i", files["initrd"],
                             "-a", "console=ttyS0 quiet loglevel=3", *options], log=f"ends-{how}.log")
        job.wait_log("^TINY:READY", 90)
        machine.sh(f"echo {how} >/run/typed", check=True)
        job.wait_log(f"^TINY:END {how}", 30)
        assert job.wait(60) == 0, job.log_text()[-1500:]
        assert console_state(machine) == before
