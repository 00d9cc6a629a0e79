# SPDX-License-Identifier: MIT
"""The parts of the lab that need no machine, and its commands."""

import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import time
import zlib

from lab import host, keys, paths, qemu, vkms
from lab.errors import LabError, LabTimeout
from lab.machine import Machine
from lab.picture import Picture

DISPLAYS = (None,)


def _two_colours():
    return Picture(4, 2, bytes((255, 0, 0)) * 4 + bytes((0, 0, 255)) * 4)


def test_ppm_is_read():
    picture = Picture.from_ppm(b"P6\n# a comment\n2 1\n255\n" + bytes((1, 2, 3, 10, 11, 12)))
    assert picture.size == (2, 1) and picture.pixel(1, 0) == (10, 11, 12) and picture.pixel(-2, -1) == (1, 2, 3)
    for bad in (b"P5\n1 1\n255\n0", b"P6\n2 2\n255\n\0", b"P6\n1"):
        try:
            Picture.from_ppm(bad)
        except ValueError:
            continue
        raise AssertionError(f"{bad!r} was taken for a picture")


def test_picture_questions():
    picture = _two_colours()
    assert picture.average() == (127.5, 0, 127.5) and picture.average(0, 1) == (0, 0, 255)
    assert picture.fraction((250, 0, 0), tolerance=5) == 0.5 and picture.fraction((250, 0, 0)) == 0
    assert picture.crop(1, 1, 2, 1).is_uniform() and not picture.is_uniform() and not picture.is_black()
    other = Picture(4, 2, picture.data[:-1] + b"\0")
    assert picture.difference(other) == 1 and picture != other and picture.digest() != other.digest()
    assert picture == _two_colours() and picture.digest() == _two_colours().digest()
    assert Picture(2, 2, bytes(12)).is_black()


def test_png_is_written():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.png"
        _two_colours().save(path)
        data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4:at], "big")
    body = zlib.decompress(data[at + 4:at + 4 + length])
    assert body == b"\0" + bytes((255, 0, 0)) * 4 + b"\0" + bytes((0, 0, 255)) * 4
    assert Picture.from_png(data) == _two_colours()


def _png(width, height, rows):
    """A PNG of rows that are filtered already."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in parts)


def test_png_filters_are_undone():
    """Rows of two pixels through each of the five filters, written down by hand from the specification."""
    plain = bytes((10, 20, 30, 40, 50, 60))
    rows = (b"\0" + plain, b"\1" + bytes((10, 20, 30, 30, 30, 30)), b"\2" + bytes(6), b"\3" + bytes((5, 10, 15, 15, 15, 15)), b"\4" + bytes(6))
    assert Picture.from_png(_png(2, 5, b"".join(rows))).data == plain * 5
    for bad in (b"", _png(2, 2, b"\0" + plain), _png(2, 1, b"\5" + plain)):
        try:
            Picture.from_png(bad)
        except ValueError:
            continue
        raise AssertionError(f"{bad!r} was taken for a picture")


def test_checksums_are_the_kernels():
    """One white and one black pixel: crc32_le(0, ...) of the 16-bit A, R, G, B words that vkms composes."""
    raw = b"\xff" * 8 + b"\xff\xff" + bytes(6)
    wanted = 0
    for byte in raw:            # the definition, bit by bit
        wanted ^= byte
        for _ in range(8):
            wanted = wanted >> 1 ^ (0xEDB88320 if wanted & 1 else 0)
    assert vkms.checksum(Picture(2, 1, b"\xff\xff\xff\0\0\0")) == wanted

def test_key_names():
    for name, code in (("KEY_GRAVE", "grave_accent"), ("KEY_F11", "f11"), ("KEY_A", "a"), ("KEY_1", "1"),
                       ("KEY_LEFTSHIFT", "shift"), ("KEY_KP7", "kp_7"), ("ret", "ret")):
        assert keys.qcode(name) == code, (name, keys.qcode(name))
    assert keys.keys_of("A") == ("a", True) and keys.keys_of("~") == ("grave_accent", True)
    assert keys.keys_of("7") == ("7", False) and keys.keys_of("\n") == ("ret", False)
    try:
        keys.keys_of("\u00e4")
    except ValueError:
        return
    raise AssertionError("typed an umlaut on a US keyboard")


def test_all_evdev_names_are_known_to_qemu():
    """Every KEY_ name that the header and QEMU's documentation both have a key for can be given."""
    wanted = [f"KEY_{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
    wanted += [f"KEY_F{number}" for number in range(1, 13)]
    wanted += ["KEY_" + name for name in (
        "GRAVE MINUS EQUAL LEFTBRACE RIGHTBRACE BACKSLASH SEMICOLON APOSTROPHE COMMA DOT SLASH SPACE ENTER TAB ESC "
        "BACKSPACE LEFTCTRL RIGHTCTRL LEFTSHIFT RIGHTSHIFT LEFTALT RIGHTALT LEFTMETA RIGHTMETA CAPSLOCK NUMLOCK "
        "SCROLLLOCK PAGEUP PAGEDOWN HOME END INSERT DELETE UP DOWN LEFT RIGHT SYSRQ PAUSE COMPOSE").split()]
    argv = ["qemu-system-x86_64", "-nodefaults", "-machine", "none", "-display", "none", "-qmp", "stdio"]
    requests = '{"execute":"qmp_capabilities"}\n'
    for name in wanted:
        requests += ('{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"%s"}]}}\n' % keys.qcode(name))
    requests += '{"execute":"quit"}\n'
    done = subprocess.run(argv, input=requests, stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    unknown = re.findall(r"does not accept value '([^']+)'|Invalid parameter '([^']+)'", done.stdout)
    assert not unknown, unknown


def test_can_nest_survives_what_it_finds():
    assert host.can_nest("/no/such/device") is False
    assert host.can_nest("/dev/null") is False
    assert host.can_nest() in (True, False)


def _error(**options):
    machine = Machine(**options)
    try:
        machine.start()
    except LabError as error:
        return str(error)
    finally:
        machine.kill()
    raise AssertionError(f"{options} started a machine")


def test_impossible_machines_are_refused():
    assert "unknown display" in _error(display="voodoo")
    assert "one head" in _error(display="bochs-display", heads=2)
    assert "does not exist" in _error(drives=[qemu.Drive("/no/such/image")])
    assert "unknown kernel" in _error(kernel="minix")
    assert "at least" in _error(memory=16)


class _Counted(Machine):
    """How often it was started."""
    starts = 0

    def _start(self, timeout):
        self.starts += 1
        return super()._start(timeout)


def test_boot_deadline_and_early_death_are_told():
    machine = _Counted(memory=512)
    try:
        machine.start(timeout=1 / host.scale())
        raise AssertionError("up within a second?")
    except LabTimeout as error:
        assert "L1 to come up" in str(error), error
        assert machine.starts == 2, machine.starts
    finally:
        machine.kill()
    assert "no-such-device" in _error(memory=512, qemu=["-device", "no-such-device"])


def test_kernel_that_panics_gets_a_second_try():
    machine = _Counted(memory=512, append="rdinit=/nowhere root=/dev/nothing")
    try:
        machine.start()
        raise AssertionError("up without a program to begin with?")
    except LabError as error:
        assert "panic" in str(error), error
        assert machine.starts == 2, machine.starts
    finally:
        machine.kill()


def test_lab_run_passes_output_and_status():
    drive = paths.OUT / "drive.img"
    drive.parent.mkdir(parents=True, exist_ok=True)
    drive.write_bytes(b"A" * 1024 + bytes(1 << 20))
    script = "head -c 5 /dev/vda; printf HELLO | dd of=/dev/vda conv=notrunc status=none; sync; uname -r; exit 9"
    done = subprocess.run([paths.LAB / "lab-run", "--kernel", "debian-6.1", "--display", "bochs-display", "--memory",
                           "1024", "--drive", f"{drive},write,serial=scratch", "--", "sh", "-c", script],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert done.returncode == 9, done
    assert done.stdout.startswith("AAAAA6.1."), done.stdout
    assert drive.read_bytes()[:6] == b"HELLOA"
    drive.unlink()


def test_lab_shell_gives_a_shell():
    """Use it as a person does: on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(paths.LAB / "lab-shell"), "--memory", "1024"])
    seen, deadline, typed = b"", time.monotonic() + 120 * host.scale(), False
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                data = b""
            if not data:
                break
            seen += data
        if not typed and b"# " in seen:
            os.write(terminal, b"echo answer $((6*7)) on $(tty); exit\r")
            typed = True
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert b"answer 42 on /dev/ttyS0" in seen, seen[-600:]
    assert status == 0, status
