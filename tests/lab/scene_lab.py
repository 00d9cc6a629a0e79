# SPDX-License-Identifier: MIT
"""The lab itself, on each display device it offers."""

import signal
import time

from lab import paths
from lab.errors import LabError, LabTimeout

DISPLAYS = ("virtio-vga", "bochs-display", "cirrus-vga")
DISPLAYS_ALL = ("qxl",)
MACHINE = {"memory": 1536}
DRIVERS = {"virtio-vga": ("virtio_gpu",), "bochs-display": ("bochs-drm",),
           "cirrus-vga": ("cirrus", "cirrus-qemu"), "qxl": ("qxl",)}
EV_KEY, EV_REL, EV_ABS = 1, 2, 3
KEY_GRAVE, KEY_A, KEY_LEFTSHIFT, KEY_F11, BTN_LEFT = 41, 30, 42, 87, 272


def raises(kind, function, *arguments, **options):
    """The error of KIND that FUNCTION raises, as text."""
    try:
        function(*arguments, **options)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} from {function.__name__}")


def near(colour, wanted):
    """Equal as far as 16 bits a pixel (cirrus) can tell."""
    return all(abs(a - b) <= 7 for a, b in zip(colour, wanted))


def test_devices(machine):
    """KVM, KMS and evdev are there, and the display driver is the one asked for."""
    machine.run(["test", "-c", "/dev/kvm"], check=True)
    driver = machine.sh("cat /sys/kernel/debug/dri/0/name", check=True).stdout.split()[0]
    assert driver in DRIVERS[machine.options.display], driver
    status = machine.sh("cat /sys/class/drm/card0-*/status", check=True).stdout.split()
    assert status.count("connected") == 1, status
    names = machine.sh("cat /sys/class/input/event*/device/name", check=True).stdout
    assert "QEMU Virtio Keyboard" in names and "QEMU Virtio Tablet" in names, names


def test_kvm_runs_code(machine):
    """KVM in L1 makes a machine: create a VM and a vCPU by ioctl."""
    script = ("import os,fcntl\n"
              "k=os.open('/dev/kvm',os.O_RDWR)\n"
              "assert fcntl.ioctl(k,0xAE00)==12\n"          # KVM_GET_API_VERSION
              "v=fcntl.ioctl(k,0xAE01,0)\n"                 # KVM_CREATE_VM
              "assert fcntl.ioctl(v,0xAE41,0)>0\n")         # KVM_CREATE_VCPU
    machine.run(["/usr/bin/python3", "-c", script], check=True)


def test_exit_status_and_output(machine):
    result = machine.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 42"])
    assert (result.status, result.stdout, result.stderr) == (42, "out\n", "err\n"), result
    assert machine.sh("kill -9 $$").status == -signal.SIGKILL
    assert machine.run(["cat"], stdin="typed").stdout == "typed"
    assert "No such file" in raises(LabError, machine.run, ["/no/such/program"])
    assert "status 3" in raises(LabError, machine.sh, "exit 3", check=True)


def test_background_job_log_and_signals(machine):
    job = machine.spawn(["/bin/sh", "-c", "trap 'echo got term; exit 5' TERM; echo begin; while :; do sleep 0.1; done"],
                        log="job.log")
    job.wait_log("^begin$", 10)
    assert job.status is None
    job.signal(signal.SIGTERM)
    job.wait_log("got term", 10)
    assert job.wait(10) == 5
    assert "begin" in raises(LabError, job.wait_log, "never comes", 10)
    group = machine.spawn(["/bin/sh", "-c", "sleep 1000 & echo child $!; wait"], log="group.log", cgroup="labtest")
    child = group.wait_log(r"child (\d+)", 10).group(1)
    assert child in machine.read_file("/sys/fs/cgroup/labtest/cgroup.procs").decode().split()
    group.signal(signal.SIGKILL, group=True)
    assert group.wait(10) == -signal.SIGKILL
    time.sleep(0.2)
    assert not machine.exists(f"/proc/{child}")


def test_files(machine):
    data = bytes(range(256)) * 300
    machine.put_file("/tmp/labtest/deep/file", data, mode=0o755)
    assert machine.read_file("/tmp/labtest/deep/file") == data
    assert machine.sh("stat -c %a /tmp/labtest/deep/file").stdout == "755\n"
    assert not (paths.SOURCE / "labtest-marker").exists()
    machine.sh(f"echo x >{paths.SOURCE}/labtest-marker; echo y >/lab/from-inside", check=True)
    assert not (paths.SOURCE / "labtest-marker").exists(), "the host's root was written to"
    assert (machine.results / "from-inside").read_text() == "y\n"


def test_deadlines_say_what_happened(machine):
    text = raises(LabTimeout, machine.sh, "echo half; sleep 60", timeout=1)
    assert "half" in text and "serial console" in text and "lab: ready" in text, text
    job = machine.spawn(["/bin/sh", "-c", "echo here I am; sleep 60"], log="slow.log")
    text = raises(LabTimeout, job.wait_log, "not coming", 1)
    assert "here I am" in text and "not coming" in text, text
    assert job.stop() == -signal.SIGTERM
    assert "the screen" in raises(LabTimeout, machine.wait_screen, lambda picture: False, 0.5)


def test_keys_reach_evdev(machine):
    job = machine.spawn([paths.LAB / "evdev-log"], log="evdev.log")
    job.wait_log("^listening", 20)
    machine.press("KEY_GRAVE")
    job.wait_log(f"Keyboard {EV_KEY} {KEY_GRAVE} 1$", 10)
    job.wait_log(f"Keyboard {EV_KEY} {KEY_GRAVE} 0$", 10)
    machine.key("f11", True)
    job.wait_log(f"Keyboard {EV_KEY} {KEY_F11} 1$", 10)
    machine.key("KEY_F11", False)
    job.wait_log(f"Keyboard {EV_KEY} {KEY_F11} 0$", 10)
    machine.type("aA")
    for key, value in ((KEY_A, 1), (KEY_A, 0), (KEY_LEFTSHIFT, 1), (KEY_A, 1), (KEY_A, 0), (KEY_LEFTSHIFT, 0)):
        job.wait_log(f"Keyboard {EV_KEY} {key} {value}$", 10)
    job.stop()


def test_pointer_reaches_evdev(machine):
    job = machine.spawn([paths.LAB / "evdev-log"], log="pointer.log")
    job.wait_log("^listening", 20)
    machine.move(640, 400, size=(1280, 800))
    x = int(job.wait_log(rf"Tablet {EV_ABS} 0 (\d+)$", 10).group(1))
    y = int(job.wait_log(rf"Tablet {EV_ABS} 1 (\d+)$", 10).group(1))
    assert abs(x - 0x4000) < 64 and abs(y - 0x4000) < 64, (x, y)
    machine.move_by(7, -5)
    job.wait_log(f"Mouse {EV_REL} 0 7$", 10)
    job.wait_log(f"Mouse {EV_REL} 1 -5$", 10)
    machine.click("left")
    job.wait_log(f"{EV_KEY} {BTN_LEFT} 1$", 10)
    job.wait_log(f"{EV_KEY} {BTN_LEFT} 0$", 10)
    job.stop()


def test_screendump_shows_the_console(machine):
    """Paint the console in two colours and find exactly them; then text appears, and nothing moves by itself."""
    machine.sh(r"printf '\033[44m\033[2J\033[H\033[41m%20s' '' >/dev/tty1", check=True)
    picture = machine.wait_screen(lambda p: near(p.pixel(-1, -1), (0, 0, 170)), 20, "a blue console")
    assert near(picture.pixel(2, 2), (170, 0, 0)), picture.pixel(2, 2)
    assert picture.crop(0, 0, 100, 8).is_uniform()
    assert near(picture.average(picture.width // 2, picture.height // 2), (0, 0, 170))
    assert picture.fraction((0, 0, 170), tolerance=7) > 0.9
    first, *others = machine.burst(3)
    assert all(other == first for other in others), "the picture changes by itself"
    machine.sh("printf hello >/dev/tty1", check=True)
    changed = machine.wait_screen(lambda p: p != first, 10, "the text to show")
    assert 0 < changed.difference(first) < 2000, changed.difference(first)
    picture.save(machine.results / "console.png")


def test_console_state(machine):
    """What a program that takes the console over and dies leaves behind can be seen."""
    def set_modes(mode, keyboard):
        machine.run(["/usr/bin/python3", "-c", "import fcntl; t = open('/dev/tty1', 'rb+', buffering=0); "
                     f"fcntl.ioctl(t, 0x4B3A, {mode}); fcntl.ioctl(t, 0x4B45, {keyboard})"], check=True)

    before = machine.console()
    assert before["mode"] == "text" and before["keyboard"] in ("unicode", "xlate") and before["active"] == 1, before
    set_modes(1, 4)
    assert machine.console() == {"mode": "graphics", "keyboard": "off", "active": 1}
    set_modes(0, 3)
    assert machine.console() == {"mode": "text", "keyboard": "unicode", "active": 1}


def test_preferred_mode(machine):
    modes = machine.sh("cat /sys/class/drm/card0-*/modes", check=True).stdout.split()
    if machine.options.display == "cirrus-vga":
        assert modes, "no modes"
    else:
        assert modes[0] == "1280x800", modes[:3]


def test_keyboard_comes_and_goes(machine):
    count = "ls -d /sys/class/input/event* | wc -l"
    before = int(machine.sh(count).stdout)
    machine.device_add("usb-kbd", "extra-keyboard")
    machine.wait_for(lambda: int(machine.sh(count).stdout) > before, 20, "the plugged-in keyboard", interval=0.3)
    machine.device_del("extra-keyboard")
    machine.wait_for(lambda: int(machine.sh(count).stdout) == before, 20, "the keyboard to go", interval=0.3)


def test_input_devices_are_tagged(machine):
    """libinput takes only devices that udev has tagged."""
    tags = machine.sh("for d in /dev/input/event*; do udevadm info -q property $d; done", check=True).stdout
    assert "ID_INPUT_KEYBOARD=1" in tags and "ID_INPUT_MOUSE=1" in tags, tags
