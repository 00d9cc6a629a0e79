#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program attacks itself from inside its threads: test_attack.py RAYVM RAYVMCTL, of a build with -Dattack=true. Prints TAP.

In one process each attack is refused, and the program lives. With --isolate the machine's process is killed, the panel lives, names SIGSYS and
shows a crashed VM. With --sandbox off the same attacks succeed: a test that did not see that would prove nothing.
"""

import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

RAYVM, RAYVMCTL = (str(pathlib.Path(word).absolute()) for word in sys.argv[1:3])
ATTACKS = ("read", "write", "exec", "fork", "socket", "code", "protect", "uring", "ring", "ptrace", "peek", "kill", "ioctl", "owner", "schedule",
           "nice")
LOOT = pathlib.Path("/tmp/rayvm-attack")


class Skip(Exception):
    """There is a reason not to run this here."""


def elf(code, vaddr=0x200000):
    """An ELF kernel that is CODE, loaded and entered at 2 MiB."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, vaddr, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, vaddr, vaddr, len(code), len(code), 0x1000)
    return (header + segment).ljust(0x1000, b"\0") + code


class Run:
    """One run of rayvm, attacked: THREAD:ATTACK, or THREAD:all."""

    def __init__(self, folder, attack, *words):
        self.folder, self.log = folder, folder / "log"
        (folder / "idle").write_bytes(elf(b"\xf4\xeb\xfd"))
        # A new one each time: the kernel may still be giving back the ring of a process that was killed, and with it the disk's lock.
        disk = tempfile.mktemp(prefix="disk-", dir=folder)
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        self.output = open(self.log, "wb")
        # A parent of its own: in one process it is what is attacked.
        self.process = subprocess.Popen([RAYVM, "--display", "headless", "-k", "idle", "-m", "64M", "-s", "1", "-d", disk, "--control", "socket", *words],
                                        cwd=folder, env={**os.environ, "RAYVM_ATTACK": attack}, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def said(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern, timeout=20):
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.said(), re.MULTILINE)):
            assert time.monotonic() < deadline, f"no /{pattern}/ in:\n{self.said()}"
            if self.process.poll() is not None and not re.search(pattern, self.said(), re.MULTILINE):
                raise AssertionError(f"ended with {self.process.returncode} before /{pattern}/:\n{self.said()}")
            time.sleep(0.02)
        return found

    def ctl(self, *words):
        return subprocess.run([RAYVMCTL, "-s", "socket", *words], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=40, check=False)

    def wait_ready(self):
        deadline = time.monotonic() + 20
        while self.ctl("status").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, f"rayvm does not answer:\n{self.said()}"
            time.sleep(0.05)


def verdicts(run, thread, attacks=ATTACKS):
    """{attack: what came of it} when the last one has begun and ended."""
    run.wait_for(rf"^rayvm-attack {thread} {attacks[-1]} (?!begins)")
    return dict(re.findall(rf"^rayvm-attack {thread} (\w+) (?!begins)(.*)$", run.said(), re.MULTILINE))


def holes(found):
    """The attacks that were not refused. A thread without a disk has no ring to find."""
    return [name for name in ATTACKS if not re.match(r"refused: |found nothing" if name == "ring" else r"refused: ", found.get(name, "none"))]


def refuses(thread):
    def test(folder):
        with Run(folder, f"{thread}:all") as run:
            found = verdicts(run, thread)
            run.wait_ready()
            assert not holes(found), f"{holes(found)} got through:\n{run.said()}"
            if thread == "block":
                assert "refused" in found["ring"], f"the disk's ring was not attacked:\n{run.said()}"
            assert not LOOT.exists()
            assert run.ctl("quit").returncode == 0 and run.process.wait(20) == 0
    return test


def kills(thread, during_start):
    """DURING_START: this thread begins while the machine is set up, so that rayvm does not start at all."""
    def test(folder):
        for attack in ATTACKS:
            with Run(folder, f"{thread}:{attack}", "--isolate") as run:
                if attack == "ring":
                    # A ring refuses by itself, and kills nobody; other threads may find none, or may not even look for one.
                    run.wait_for(rf"^rayvm-attack {thread} ring (refused|found nothing)|SIGSYS" if thread != "block" else r"^rayvm-attack block ring refused")
                    assert "SUCCEEDED" not in run.said(), run.said()
                    continue
                run.wait_for(r"SIGSYS")
                assert "SUCCEEDED" not in run.said(), run.said()
                assert re.search(rf"^rayvm-attack {thread} {attack} begins", run.said(), re.MULTILINE), run.said()
                if during_start:
                    assert run.process.wait(20) == 1, run.said()
                    continue
                run.wait_ready()
                assert run.ctl("wait", "vm:crashed", "--timeout", "10").returncode == 0, f"{run.ctl('status').stdout}\n{run.said()}"
                assert run.ctl("quit").returncode == 0 and run.process.wait(20) == 0, run.said()
            assert not LOOT.exists()
    return test


def test_without_the_sandbox_the_attacks_are_seen_to_succeed(folder):
    if os.geteuid() != 0:
        raise Skip("needs root: to others much of this is refused anyway")
    for thread, words in (("vcpu0", ()), ("front", ()), ("block", ("--isolate",))):
        with Run(folder, f"{thread}:all", "--sandbox", "off", *words) as run:
            # exec replaces the program: it says so itself, and nothing behind it is tried.
            run.wait_for(r"rayvm-attack exec SUCCEEDED")
            assert {"read", "write"} <= set(re.findall(rf"^rayvm-attack {thread} (\w+) SUCCEEDED", run.said(), re.MULTILINE)), run.said()
        LOOT.unlink()
    for attack in ATTACKS[3:]:
        if attack == "ring":
            continue        # it stays restricted: that is the disk's own doing
        with Run(folder, f"vcpu0:{attack}", "--sandbox", "off") as run:
            found = verdicts(run, "vcpu0", (attack,))
            assert found[attack] == "SUCCEEDED" and attack in holes(found), run.said()


def main():
    tests = [(f"refused_in_{thread}", refuses(thread)) for thread in ("front", "vcpu0", "block", "vm-io", "machine", "loader", "log", "control", "ui", "worker")]
    tests += [(f"killed_in_{thread}", kills(thread, start)) for thread, start in (("vcpu0", False), ("machine", False), ("main", False), ("block", True))]
    tests += [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        LOOT.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="rayvm-attack-") as folder:
            try:
                function(pathlib.Path(folder))
                print(f"ok {number} - {name}", flush=True)
            except Skip as reason:
                print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            except Exception as error:      # pylint: disable=broad-except
                failed += 1
                print(f"not ok {number} - {name}", flush=True)
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
