#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rayvm and bad input, end to end without a lab: test_badinput.py RAYVM RAYVMCTL, prints TAP.

A start that fails prints exactly one line, which names the thing and the remedy, has the promised exit status, and
leaves every file as it was. Guests are a few instructions in an ELF file, so that any /dev/kvm will do.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

RAYVM, RAYVMCTL = (str(pathlib.Path(word).absolute()) for word in sys.argv[1:3])
FAILED, USAGE, KVM, DISPLAY = 1, 2, 3, 4
NOBODY = 65534


class Skip(Exception):
    """There is a reason not to run this here."""


# -- guests

def elf(code, vaddr=0x200000):
    """An ELF kernel that is CODE, loaded and entered at 2 MiB."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, vaddr, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, vaddr, vaddr, len(code), len(code), 0x1000)
    return (header + segment).ljust(0x1000, b"\0") + code


def out_byte(port, value):
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"      # mov dx; mov al; out dx, al


def say(text):
    return b"".join(out_byte(0x3F8, byte) for byte in text.encode())


HALT = b"\xf4\xeb\xfd"                                                                      # hlt; jmp back to it
GUESTS = {
    "idle": say("IDLE\n") + HALT,
    # SLP_TYP 5 and SLP_EN into the PM1a control register
    "poweroff": say("OFF\n") + b"\x66\xba" + struct.pack("<H", 0x604) + b"\x66\xb8" + struct.pack("<H", 5 << 10 | 1 << 13) + b"\x66\xef" + HALT,
    "reboot": say("REBOOT\n") + out_byte(0xCF9, 6) + HALT,
    # waits until the power button's status bit is set in PM1 status, then S5
    "button": say("READY\n") + b"\x66\xba" + struct.pack("<H", 0x600) + b"\x66\xed\xf6\xc4\x01\x74\xf9" + say("PRESSED\n") +
              b"\x66\xba" + struct.pack("<H", 0x604) + b"\x66\xb8" + struct.pack("<H", 5 << 10 | 1 << 13) + b"\x66\xef" + HALT,
    # the clock's seconds, then config space by ports, the PM timer and a status byte: what a kernel reads early
    "reader": out_byte(0x70, 0) + b"\x66\xba\x71\x00\xec" + b"\x66\xba\xf8\x0c\xb8\x00\x00\x00\x80\xef\x66\xba\xfc\x0c\xed" +
              b"\x66\xba\x08\x06\xed\x66\xba\x64\x00\xec" + say("READ\n") + HALT,
    # what a Linux kernel without a second one to load tells of its panic
    "panic": say("PANIC\n") + out_byte(0x505, 1) + HALT,
    "crash": say("CRASH\n") + b"\x0f\x0b",                                                  # ud2 without an IDT: triple fault
}


# -- running rayvm

class Bench:
    """A private folder with files to be given, and rayvm run in it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        os.chmod(folder, 0o755)
        for name, code in GUESTS.items():
            (self.folder / name).write_bytes(elf(code))
        (self.folder / "truncated").write_bytes(elf(GUESTS["idle"])[:0x1004])
        (self.folder / "noise").write_bytes(b"this is no kernel\n" * 1000)
        (self.folder / "empty").touch()
        (self.folder / "folder").mkdir()
        self.sparse("disk", 1 << 20)
        self.sparse("huge", 1 << 40)

    def sparse(self, name, size):
        with open(self.folder / name, "wb") as file:
            with contextlib.suppress(OSError):      # a file system without such large files
                file.truncate(size)

    def path(self, name):
        return str(self.folder / name)

    def environment(self, extra=None):
        kept = {name: value for name, value in os.environ.items() if name not in ("RAYOS_KERNEL_FEATURES", "XDG_RUNTIME_DIR")}
        return {**kept, **(extra or {})}

    def run(self, *words, env=None, prefix=(), user=None, timeout=30, program=RAYVM, **more):
        done = subprocess.run([*prefix, program, *words], cwd=self.folder, env=self.environment(env), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout,
                              check=False, user=user, group=user, extra_groups=[] if user else None, **more)
        return done

    def refused(self, status, texts, *words, **options):
        """rayvm WORDS ends with STATUS and one line on stderr in which all TEXTS stand; nothing of ours changed."""
        before = self.listing()
        done = self.run(*words, **options)
        what = f"rayvm {' '.join(words)[:200]}: status {done.returncode}, it said:\n{done.stderr}"
        assert done.returncode == status, f"{what}\nwanted status {status}"
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("rayvm: "), f"{what}\nwanted exactly one line"
        for text in (texts,) if isinstance(texts, str) else texts:
            assert text in lines[0], f"{what}\nwanted '{text}' in it"
        assert not done.stdout, f"{what}\nand on stdout:\n{done.stdout}"
        assert self.listing() == before, f"{what}\nfiles changed: {before ^ self.listing()}"

    def listing(self):
        return {(str(path), path.lstat().st_size, path.lstat().st_mtime_ns if path.is_file() else 0) for path in self.folder.rglob("*")
                if not path.name.startswith("running.")}      # what the other rayvm of the test writes

    @contextlib.contextmanager
    def running(self, *words):
        """rayvm that has come up (its control socket answers)."""
        log = open(self.folder / "running.log", "w+b")
        process = subprocess.Popen([RAYVM, "--control", self.path("running.sock"), *words], cwd=self.folder, env=self.environment(),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while self.ctl("status").returncode != 0:
                assert process.poll() is None and time.monotonic() < deadline, f"rayvm did not come up:\n{(self.folder / 'running.log').read_text()}"
                time.sleep(0.05)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGHUP)      # at once; SIGTERM would ask the guest first
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            log.close()
            os.unlink(self.folder / "running.log")

    def ctl(self, *words, socket="running.sock"):
        return subprocess.run([RAYVMCTL, "-s", self.path(socket), *words], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=40, check=False)

    def ctl_refused(self, status, text, *words, **options):
        done = self.ctl(*words, **options)
        assert done.returncode == status and text in done.stderr and len(done.stderr.splitlines()) == 1, \
            f"rayvmctl {' '.join(words)}: status {done.returncode}, it said '{done.stderr}', wanted {status} and '{text}'"


def need_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Skip(f"/dev/kvm: {error.strerror}") from error


HEADLESS = ("--display", "headless", "--features", "dev_scanout")
NONE = ("--display", "none", "--serial", "none", "--control", "vm.sock")


# -- tests

def test_kernel(bench):
    for name, text in (("missing", ("missing", "No such file", "check the path")), ("folder", ("folder", "regular file")),
                       ("empty", "too short"), ("truncated", ("truncated", "copy it again")), ("noise", ("no bzImage magic", "give a bzImage")),
                       ("/dev/zero", "regular file")):
        bench.refused(USAGE, ("kernel", *((text,) if isinstance(text, str) else text)), *NONE, "-k", name)
    bench.refused(USAGE, ("--kernel", "path"), *NONE, "-k", "")
    bench.refused(USAGE, ("without a kernel", "-k"), *NONE)


def test_truncated_bzimage(bench):
    image = bytearray(4096)
    image[0x1F1] = 1                                                    # setup_sects
    image[0x1F4:0x1F8] = struct.pack("<I", 1 << 16)                     # syssize, 16 byte units
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x200:0x208] = b"\xeb\x66HdrS" + struct.pack("<H", 0x20F)
    image[0x211] = 1                                                    # LOADED_HIGH
    image[0x236] = 3                                                    # 64-bit entry
    image[0x260:0x264] = struct.pack("<I", 1 << 21)
    (bench.folder / "bzimage").write_bytes(image)
    bench.refused(USAGE, ("kernel bzimage", "truncated", "copy it again"), *NONE, "-k", "bzimage")


def test_initrd(bench):
    for name, text in (("missing", ("No such file", "check the path")), ("folder", ("regular file",)), ("empty", ("empty", "--initrd")),
                       ("huge", ("do not fit", "--memory"))):
        if name == "huge" and (bench.folder / name).stat().st_size == 0:
            continue
        bench.refused(USAGE, ("initrd", name, *text), *NONE, "-k", "idle", "-i", name)


def test_command_line_too_long(bench):
    bench.refused(USAGE, ("command line", "--append"), *NONE, "-k", "idle", "-a", "x" * 5000)


def test_memory(bench):
    for size in ("", "none", "0", "5", "-1", "64", "2X", "1.5G", "99999999999999999999G", "2T"):
        bench.refused(USAGE, ("--memory", "512M or 4G"), *NONE, "-k", "idle", "-m", size)
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    if host < 1000000:
        bench.refused(USAGE, ("more than the", "--memory"), *NONE, "-k", "idle", "-m", f"{host + 1024}M")
        bench.refused(USAGE, ("more than the", "--memory"), *NONE, "-k", "idle", "-m", "1T")


def test_cpus(bench):
    for number in ("", "0", "-1", "255", "4294967297", "two"):
        bench.refused(USAGE, ("--cpus", "between 1 and 254"), *NONE, "-k", "idle", "-s", number)


def test_hugepages(bench):
    bench.refused(USAGE, ("--hugepages", "2M, 1G, none"), *NONE, "-k", "idle", "--hugepages=3M")
    bench.refused(USAGE, ("whole number of huge pages of 2 MiB", "--memory"), *NONE, "-k", "idle", "-m", "65M", "--hugepages")
    pool = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
    if not pool.exists():
        bench.refused(USAGE, ("no huge pages of 2 MiB", "--hugepages"), *NONE, "-k", "idle", "-m", "64M", "--hugepages")
    elif int((pool / "free_hugepages").read_text()) < 32:
        bench.refused(USAGE, ("32 huge pages of 2 MiB are needed", "nr_hugepages"), *NONE, "-k", "idle", "-m", "64M", "--hugepages=2M")


def test_options(bench):
    for number in ("", "-1", "3601", "soon"):
        bench.refused(USAGE, ("--shutdown-timeout", "between 0 and 3600"), "--shutdown-timeout", number)
    bench.refused(USAGE, ("unknown option --bogus", "--help"), "--bogus")
    bench.refused(USAGE, ("unknown option -Z", "--help"), "-Z")
    bench.refused(USAGE, ("--kernel needs a value", "--help"), "--kernel")
    bench.refused(USAGE, ("'more' is no option", "-k"), "more")
    bench.refused(USAGE, ("--display", "kms, headless, none"), "--display", "sixel")
    bench.refused(USAGE, ("--mode", "1920x1080"), "--mode", "0x0")
    for seconds in ("", "-1", "604801", "never"):
        bench.refused(USAGE, ("--blank-after", "between 0 and 604800"), "--blank-after", seconds)
    for word in ("", "clone", "Extend"):
        bench.refused(USAGE, ("--outputs", "mirror, extend"), "--outputs", word)
    bench.refused(USAGE, ("--connector needs a value", "--help"), "--connector")
    bench.refused(USAGE, ("--log-level", "error, warn, info, debug"), "--log-level", "loud")
    bench.refused(USAGE, ("--on-crash", "exit, restart, stay"), "--on-crash", "weep")
    bench.refused(USAGE, ("--toggle-key", "KEY_GRAVE"), "--toggle-key", "anykey")
    bench.refused(USAGE, ("KEY_F11", "give each its own"), "--toggle-key", "KEY_F11")


def test_features(bench):
    bench.refused(USAGE, ("--features", "'warp'", "dev_scanout"), "--features", "warp")
    bench.refused(USAGE, ("--features", "exclude each other"), "--features", "vmm_hypervisor,dev_scanout")
    bench.refused(USAGE, ("RAYOS_KERNEL_FEATURES", "'warp'"), *HEADLESS[:2], env={"RAYOS_KERNEL_FEATURES": "warp"})
    bench.refused(USAGE, ("dev_scanout", "--display kms or headless"), "--display", "none", "--features", "dev_scanout")


def test_settings_file(bench):
    path = bench.folder / "rayvm.ini"
    for text, said in (("[rayvm]\n\nkernal = x\n", (":3: kernal", "rayvm.ini(5)")), ("[rayvm]\nmemory = much\n", (":2: memory", "512M or 4G")),
                       ("[guest]\nmemory = 1G\n", (":2: memory", "section [rayvm]")), ("memory = 1G\n", (":1: memory", "section [rayvm]")),
                       ("[rayvm]\nnonsense\n", (":2:", "name = value")), ("[rayvm\n", (":1:", "[section]")),
                       ("[rayvm]\nappend = " + "x" * 5000 + "\n", (":2:", "too long", "command line")), ("[rayvm]\nkernel =\n", (":2: kernel", "path"))):
        path.write_text(text)
        bench.refused(USAGE, ("rayvm.ini", *said), "-c", "rayvm.ini")
    path.unlink()
    bench.refused(USAGE, ("rayvm.ini", "No such file", "-c"), "-c", "rayvm.ini")
    bench.refused(USAGE, ("folder", "directory", "-c"), "-c", "folder")


def test_control_socket(bench):
    bench.refused(USAGE, ("control socket", "No such file", "--control"), *HEADLESS, "--control", "/nonexistent/rayvm.sock")
    bench.refused(USAGE, ("control socket", "too long", "--control"), *HEADLESS, "--control", bench.path("x" * 150))
    bench.refused(USAGE, ("control socket", "something else", "--control"), *HEADLESS, "--control", "folder")
    bench.refused(USAGE, ("control socket", "something else", "--control"), *HEADLESS, "--control", "disk")
    bench.refused(USAGE, ("--control", "path"), *HEADLESS, "--control", "")
    with bench.running(*HEADLESS):
        bench.refused(USAGE, ("another rayvm uses it", "--control"), *HEADLESS, "--control", bench.path("running.sock"))
        assert bench.ctl("status").returncode == 0, "the socket of the first one is gone"
    assert not (bench.folder / "running.sock").exists()


def test_markers(bench):
    start = (*HEADLESS, "--control", "vm.sock", "--markers")
    bench.refused(USAGE, ("/nonexistent/markers", "No such file", "--markers"), *start, "/nonexistent/markers")
    bench.refused(USAGE, ("folder", "directory", "--markers"), *start, "folder")
    bench.refused(USAGE, ("--markers", "fd:99"), *start, "fd:99")
    bench.refused(USAGE, ("--markers", "fd:x"), *start, "fd:x")


def test_serial(bench):
    start = ("--display", "none", "--control", "vm.sock", "-k", "idle", "--serial")
    bench.refused(USAGE, ("/nonexistent/serial", "No such file", "--serial"), *start, "file:/nonexistent/serial")
    bench.refused(USAGE, ("folder", "directory", "--serial"), *start, "file:folder")
    bench.refused(USAGE, ("--serial", "stdio, file:PATH, none"), *start, "tape")
    bench.refused(USAGE, ("--serial", "stdio, file:PATH, none"), *start, "file:")
    (bench.folder / "serial.log").write_text("of the last run\n")
    bench.refused(USAGE, "kernel", "--display", "none", "--control", "vm.sock", "-k", "noise", "--serial", "file:serial.log")


def test_disks(bench):
    need_kvm()
    for spec, texts in (("missing.img", ("No such file", "truncate")), ("folder", ("folder", "raw disk image")), ("empty", ("smaller than one sector", "truncate")),
                        ("/dev/zero", ("raw disk image",)), ("mem:0", ("not a size",)), ("mem:", ("not a size",)), ("", ("no file given",)),
                        ("disk,format=qcow2", ("format",)), ("disk,fast", ("unknown option", "readonly"))):
        bench.refused(USAGE, ("disk", *texts), *NONE, "-k", "idle", "-d", spec)
    # H4: more memory than there is, by itself and together; --check says the same.
    for disks in (("mem:1000000T",), ("mem:3000000T", "mem:3000000T", "mem:3000000T"), ("mem:1M", "huge,overlay=mem:1000000G")):
        words = [word for disk in disks for word in ("-d", disk)]
        bench.refused(USAGE, ("disks", "for the guest and up to", "mem:SIZE", "--memory"), *NONE, "-k", "idle", "-m", "64M", *words)
        done = bench.run("--check", "--display", "none", "-k", "idle", "-m", "64M", *words)
        assert done.returncode == USAGE and re.search(r"^\[!!\] memory +disks: .* mem:SIZE", done.stdout, re.MULTILINE), done
    done = bench.run("--check", "--display", "none", "-k", "idle", "-m", "64M", "-d", "disk,overlay=mem", "-d", "mem:1M")
    assert done.returncode == 0 and re.search(r"^\[OK\] memory +disks: up to 2 MiB, and \d+ MiB for each overlay", done.stdout, re.MULTILINE), done
    # An overlay without a size gets what the host can spare, and says how much that is.
    memory = int(re.search(r"MemTotal: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1])
    for more in ((), ("--isolate",)):
        done = bench.run("--display", "none", "--control", "vm.sock", "-m", "64M", "-s", "1", "-k", "poweroff", "-d", "huge,overlay=mem", *more)
        found = re.findall(r"disk huge: .* up to (\d+) KiB of what is written stay in memory \(overlay=mem:SIZE", done.stderr)
        assert done.returncode == 0 and len(found) == 1 and 65536 <= int(found[0]) <= max(65536, memory), done
    # Another process finds out, and it is one line all the same; so it is when that process had nothing to complain of.
    bench.refused(USAGE, ("disk", "No such file", "truncate"), *NONE, "-k", "idle", "-d", "missing.img", "--isolate")
    bench.refused(USAGE, ("control socket", "No such file"), "--display", "none", "--control", "/nonexistent/rayvm.sock", "-k", "idle", "-m", "64M", "--isolate")
    bench.refused(USAGE, "more than 16 disks", *NONE, "-k", "idle", *(["-d", "mem:1M"] * 17))


def test_disk_without_right(bench):
    need_kvm()
    if os.geteuid() == 0:
        raise Skip("root may read everything")
    os.chmod(bench.path("disk"), 0)
    try:
        bench.refused(USAGE, ("disk", "Permission denied", "right to write"), *NONE, "-k", "idle", "-d", "disk")
    finally:
        os.chmod(bench.path("disk"), 0o644)


def test_disk_in_use(bench):
    need_kvm()
    with bench.running("--display", "none", "--serial", "file:running.serial", "-k", "idle", "-m", "64M", "-s", "1", "-d", "disk"):
        deadline = time.monotonic() + 20
        while (bench.folder / "running.serial").read_text() != "IDLE\n" and time.monotonic() < deadline:
            time.sleep(0.05)
        bench.refused(USAGE, ("disk", "another program uses it", "readonly"), *NONE[:2], *NONE[4:], "--serial", "file:running.serial", "-k", "idle", "-d", "disk")
        assert (bench.folder / "running.serial").read_text() == "IDLE\n", "the failed start emptied the other's serial log"


def hidden_kvm(script):
    """The words before rayvm that hide /dev/kvm from it: in a mount namespace of its own, SCRIPT makes the new /dev."""
    prefix = ["unshare", "-m" if os.geteuid() == 0 else "-Urm", "sh", "-c", script + '; exec "$0" "$@"']
    try:
        tried = subprocess.run([*prefix, "true"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Skip(f"unshare: {error.strerror}") from error
    if tried.returncode:
        raise Skip(f"no mount namespace here: {tried.stderr.strip()}")
    return prefix


def test_no_kvm(bench):
    prefix = hidden_kvm("mount -t tmpfs none /dev")
    bench.refused(KVM, ("/dev/kvm", "modprobe", "firmware"), *NONE, "-k", "idle", prefix=prefix)


def test_kvm_is_something_else(bench):
    if not os.path.exists("/dev/kvm"):
        raise Skip("there is no /dev/kvm to hide")
    prefix = hidden_kvm("mount --bind /dev/null /dev/kvm")
    bench.refused(KVM, ("/dev/kvm", "modprobe"), *NONE, "-k", "idle", prefix=prefix)


def test_kvm_without_right(bench):
    if os.geteuid() != 0:
        raise Skip("only root can run it as somebody without rights")
    if not os.path.exists("/dev/kvm") or os.stat("/dev/kvm").st_mode & 0o006:
        raise Skip("/dev/kvm is missing or open to everybody")
    # The build may lie where somebody without rights gets no further than the first folder.
    program = shutil.copy(RAYVM, bench.path("program"))
    bench.refused(KVM, ("/dev/kvm", "permission", "group kvm"), *NONE, "-k", bench.path("idle"), user=NOBODY, timeout=30, program=program)


def test_card(bench):
    """Needs a seat to get that far: only as root without a display in use, so no more than the path is judged."""
    if os.geteuid() != 0 or os.path.exists("/dev/dri"):
        raise Skip("only as root on a machine without a card")
    done = bench.run("--features", "dev_scanout", "--control", "vm.sock", "--card", "/dev/null")
    assert done.returncode == DISPLAY and "/dev/null" in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_asked_to_end_while_it_waits_for_a_card(bench):
    if os.geteuid() != 0 or os.path.exists("/dev/dri"):
        raise Skip("only as root on a machine without a card")
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen([RAYVM, "--features", "dev_scanout", "--control", bench.path("vm.sock")], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, env=bench.environment())
        time.sleep(1)
        begin = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0 and len(said.splitlines()) == 1 and "waiting for a display card" in said, (process.returncode, said)
        assert time.monotonic() - begin < 5, "it took its time"


def test_check_judges_without_touching(bench):
    before = bench.listing()
    done = bench.run("--check", "--display", "none", "-k", "noise", "-d", "missing.img")
    assert done.returncode in (USAGE, KVM), done
    assert "rayvm would not start" in done.stdout and "noise" in done.stdout and "missing.img" in done.stdout, done.stdout
    assert done.stderr == "" and bench.listing() == before, done
    if os.path.exists("/dev/kvm") and os.access("/dev/kvm", os.R_OK | os.W_OK):
        done = bench.run("--check", "--display", "none", "-k", "idle", "-d", "disk", "-m", "64M")
        assert done.returncode == 0 and "rayvm would start" in done.stdout and "[!!]" not in done.stdout, done.stdout
        assert bench.listing() == before


def test_policies(bench):
    """I6: what the guest does at its end decides how the program ends, with serial on stdio."""
    need_kvm()
    small = ("--display", "none", "--control", "vm.sock", "-m", "64M", "-s", "1")
    for guest, options, status, said in (("poweroff", (), 0, "OFF\n"), ("crash", (), FAILED, "CRASH\n"), ("panic", (), FAILED, "PANIC\n"), ("reboot", ("--on-reboot", "exit"), 0, "REBOOT\n"),
                                         ("crash", ("--on-crash", "exit"), FAILED, "CRASH\n")):
        done = bench.run(*small, "-k", guest, *options)
        assert done.returncode == status, f"{guest} {options}: status {done.returncode}\n{done.stderr}"
        assert done.stdout == said, f"{guest} {options}: '{done.stdout}' on the serial port"
    for guest, option, word in (("reboot", (), "REBOOT\n"), ("poweroff", ("--on-poweroff", "restart"), "OFF\n"), ("crash", ("--on-crash", "restart"), "CRASH\n")):
        (bench.folder / "running.serial").unlink(missing_ok=True)
        with bench.running("--display", "none", "--serial", "file:running.serial", "-m", "64M", "-s", "1", "-k", guest, *option) as process:
            deadline = time.monotonic() + 20
            while (bench.folder / "running.serial").read_text().count(word) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert (bench.folder / "running.serial").read_text().count(word) >= 3, f"{guest} {option} did not restart"
            assert process.poll() is None
    for guest, option, state in (("poweroff", "--on-poweroff", "stopped"), ("crash", "--on-crash", "crashed"), ("panic", "--on-crash", "crashed"), ("reboot", "--on-reboot", "stopped")):
        with bench.running("--display", "none", "--serial", "none", "-m", "64M", "-s", "1", "-k", guest, option, "stay") as process:
            done = bench.ctl("wait", f"vm:{state}", "--timeout", "20")
            assert done.returncode == 0 and process.poll() is None, (guest, done.stderr)
            assert bench.ctl("quit").returncode == 0
            assert process.wait(20) == 0


def test_signals(bench):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with bench.running(*HEADLESS) as process:
            process.send_signal(number)
            assert process.wait(20) == 0, (number, process.returncode)
        assert not (bench.folder / "running.sock").exists(), number
    # At any moment of the start: either before anything was made, or cleanly.
    for step in range(12):
        process = subprocess.Popen([RAYVM, *HEADLESS, "--control", bench.path("vm.sock")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=bench.environment())
        time.sleep(step * 0.005)
        process.send_signal(signal.SIGHUP if step % 2 else signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM, -signal.SIGHUP), process.returncode
        assert not (bench.folder / "vm.sock").exists(), f"ended with {process.returncode} {step * 5} ms after its start and left its socket"


def test_behind_a_shell(bench):
    """rayvm whose terminal another program has: reading it stops nobody, least of all the panel, and what is typed later arrives."""
    need_kvm()

    def waiting():
        return struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0]

    def lead(words, turn):
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)    # and its group is the one in front
        with open(bench.folder / "running.log", "wb") as log:
            rayvm = subprocess.Popen([RAYVM, *words], cwd=bench.folder, env=bench.environment(), stdin=slave, stdout=log, stderr=log, preexec_fn=os.setpgrp)
        (bench.folder / "running.pid").write_text(str(rayvm.pid))
        os.read(turn, 1)
        os.tcsetpgrp(slave, rayvm.pid)
        rayvm.wait()

    for option in ((), ("--isolate",)):
        master, slave = pty.openpty()
        turn = os.pipe()
        leader = os.fork()
        if leader == 0:
            try:
                lead(("--display", "headless", "--serial", "stdio", "-m", "64M", "-s", "1", "-k", "idle", "--control", "running.sock", *option), turn[0])
            finally:
                os._exit(0)
        try:
            deadline = time.monotonic() + 30
            while bench.ctl("wait", "vm:running", "--timeout", "1").returncode != 0:
                assert time.monotonic() < deadline, (bench.folder / "running.log").read_text()
            pid = int((bench.folder / "running.pid").read_text())
            os.write(master, b"to the shell\n")
            os.killpg(pid, signal.SIGTTIN)              # what the kernel does when a process of the group reads, with this signal unblocked
            time.sleep(1)
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert state != "T", f"{option}: stopped"
            assert bench.ctl("status").returncode == 0 and waiting() > 0, option
            os.write(turn[1], b"x")
            deadline = time.monotonic() + 10
            while waiting() > 0:
                assert time.monotonic() < deadline, f"{option}: its terminal is not read any more"
                time.sleep(0.05)
        finally:
            os.kill(int((bench.folder / "running.pid").read_text()), signal.SIGKILL)
            os.kill(leader, signal.SIGKILL)
            os.waitpid(leader, 0)
            for descriptor in (master, slave, *turn):
                os.close(descriptor)
            for name in ("running.pid", "running.log", "running.sock"):
                (bench.folder / name).unlink(missing_ok=True)


def test_machine_has_no_input_and_output(bench):
    """With --isolate neither the machine's process nor its maker holds the program's standard input and output, and the log's terminal only to write."""
    need_kvm()
    master, slave = pty.openpty()
    try:
        words = ("--display", "none", "--isolate", "--serial", "none", "-m", "64M", "-s", "1", "-k", "idle", "--control", "running.sock")
        with subprocess.Popen([RAYVM, *words], cwd=bench.folder, env=bench.environment(), stdin=slave, stdout=slave, stderr=slave) as process:
            try:
                deadline = time.monotonic() + 30
                while bench.ctl("wait", "vm:running", "--timeout", "1").returncode != 0:
                    assert time.monotonic() < deadline
                others = {}
                for folder in pathlib.Path("/proc").glob("[0-9]*"):
                    try:
                        name = (folder / "comm").read_text().strip()
                        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                    except (OSError, ValueError):
                        continue
                    if name in ("rayvm-spawner", "rayvm-machine") and (parent == process.pid or name == "rayvm-machine"):
                        others[name] = folder
                assert set(others) == {"rayvm-spawner", "rayvm-machine"}
                for name, folder in others.items():
                    assert [os.readlink(folder / f"fd/{fd}") for fd in (0, 1)] == ["/dev/null"] * 2, name
                    flags = int(re.search(r"^flags:\s+(\d+)", (folder / "fdinfo/2").read_text(), re.M)[1], 8)
                    assert flags & os.O_ACCMODE == os.O_WRONLY, name
            finally:
                process.kill()
    finally:
        os.close(master)
        os.close(slave)


def test_early_reads_in_both_processes(bench):
    """No device's answer needs a system call that a vCPU's thread is not allowed."""
    need_kvm()
    serial = bench.folder / "running.serial"
    for option in ((), ("--isolate",)):
        serial.unlink(missing_ok=True)
        with bench.running("--display", "none", "--serial", "file:running.serial", "-m", "64M", "-s", "1", "-k", "reader", *option) as process:
            deadline = time.monotonic() + 20
            while (not serial.exists() or "READ" not in serial.read_text()) and time.monotonic() < deadline:
                time.sleep(0.05)
            log = (bench.folder / "running.log").read_text()
            assert serial.exists() and "READ" in serial.read_text(), f"{option}: {log}"
            assert "forbid" not in log and "refused" not in log, f"{option}: {log}"
            assert process.poll() is None


def test_sigterm_asks_the_guest(bench):
    """SIGTERM is the power button, then a deadline, then the end; in all of them 0. A second one is the end at once."""
    need_kvm()
    serial = bench.folder / "running.serial"

    def started(guest, word, *options):
        serial.unlink(missing_ok=True)
        process = bench.running("--display", "none", "--serial", "file:running.serial", "-m", "64M", "-s", "1", "-k", guest, *options)
        return process, word

    def until(word):
        deadline = time.monotonic() + 20
        while word not in serial.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert word in serial.read_text(), serial.read_text()

    for paused in (False, True):
        running, word = started("button", "READY", "--on-poweroff", "stay")
        with running as process:
            until(word)
            if paused:
                assert bench.ctl("vm", "pause").returncode == 0
            begin = time.monotonic()
            process.terminate()
            assert process.wait(20) == 0 and time.monotonic() - begin < 15
            assert "PRESSED" in serial.read_text(), f"paused {paused}: the guest was not asked"
    # A guest that does not care: until the deadline.
    running, word = started("idle", "IDLE", "--shutdown-timeout", "2")
    with running as process:
        until(word)
        begin = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0 and 1.9 < time.monotonic() - begin < 15, time.monotonic() - begin
        assert "did not power off in 2 s" in (bench.folder / "running.log").read_text()
    # Twice, or hung up: at once.
    for second in (signal.SIGTERM, signal.SIGHUP):
        running, word = started("idle", "IDLE")
        with running as process:
            until(word)
            begin = time.monotonic()
            process.terminate()
            assert bench.ctl("wait", "vm:stopping", "--timeout", "20").returncode == 0
            process.send_signal(second)
            assert process.wait(20) == 0 and time.monotonic() - begin < 15, time.monotonic() - begin
    # None was wanted.
    running, word = started("idle", "IDLE", "--shutdown-timeout", "0")
    with running as process:
        until(word)
        begin = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0 and time.monotonic() - begin < 15
    # Nothing runs: nobody is waited for. A guest that reboots or crashes when it is asked ends it too.
    running, word = started("poweroff", "OFF", "--on-poweroff", "stay")
    with running as process:
        assert bench.ctl("wait", "vm:stopped", "--timeout", "20").returncode == 0
        begin = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0 and time.monotonic() - begin < 15


def test_closed_descriptors(bench):
    """What would be printed must not land in a file that happened to get the number 0, 1 or 2."""
    process = subprocess.Popen(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', RAYVM, *HEADLESS, "--control", bench.path("vm.sock")], env=bench.environment())
    try:
        deadline = time.monotonic() + 20
        while bench.ctl("status", socket="vm.sock").returncode != 0:
            assert process.poll() is None and time.monotonic() < deadline, f"it did not come up: {process.returncode}"
            time.sleep(0.05)
        targets = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert targets == ["/dev/null"] * 3, targets
    finally:
        process.terminate()
        assert process.wait(20) == 0, process.returncode


def test_rayvmctl(bench):
    bench.ctl_refused(1, "is rayvm running there?", "status", socket="nobody.sock")
    bench.ctl_refused(1, "too long", "status", socket="x" * 150)
    bench.ctl_refused(1, "rayvm", "status", socket="disk")
    bench.ctl_refused(2, "unknown command 'dance'", "dance")
    bench.ctl_refused(2, "X and Y", "pointer", "1")
    bench.ctl_refused(2, "seconds", "wait", "ui", "--timeout", "soon")
    with bench.running(*HEADLESS) as process:
        bench.ctl_refused(1, "ui, guest or toggle", "show", "sidewise")
        bench.ctl_refused(1, "KEY_NONE_SUCH", "press", "KEY_NONE_SUCH")
        bench.ctl_refused(1, "character", "type", "caf\u00e9")
        bench.ctl_refused(1, "--guest", "type", "a`b")
        bench.ctl_refused(1, "no VM", "vm", "reset")
        bench.ctl_refused(1, "powerdown", "vm", "explode")
        bench.ctl_refused(1, "first-frame", "wait", "teleported")
        bench.ctl_refused(1, "vm:crashed", "wait", "vm:crashed", "--timeout", "0.2")
        bench.ctl_refused(1, "/nonexistent/x.png", "screenshot", "/nonexistent/x.png")
        mask = os.umask(0o027)
        assert bench.ctl("screenshot", "x.png").returncode == 0
        os.umask(mask)
        picture = bench.folder / "x.png"
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_mode & 0o777 == 0o640, oct(picture.stat().st_mode)
        assert bench.ctl("screenshot", "x.png", "--output", "Headless-1").returncode == 0
        before = bench.listing()
        bench.ctl_refused(1, "'face'", "screenshot", "x.png", "--face", "moon")
        bench.ctl_refused(1, "there is Headless-1", "screenshot", "x.png", "--output", "moon")
        assert bench.listing() == before, "a screenshot that failed left something behind"
        status = json.loads(bench.ctl("status", "--json").stdout)
        assert status["presentation"] == "hidden" and process.poll() is None, status
        assert bench.ctl("quit").returncode == 0
        assert process.wait(20) == 0


def main():
    # Under nohup or a shell's background this is ignored, and would be by each rayvm until it takes its signals: one sent before then is lost.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    tests = [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    print(f"1..{len(tests)}", flush=True)
    for number, (name, function) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory(prefix="rayvm-badinput-") as folder:
            try:
                function(Bench(folder))
                print(f"ok {number} - {name}", flush=True)
            except Skip as reason:
                print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
                print(f"not ok {number} - {name}", flush=True)
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}", flush=True)


main()
