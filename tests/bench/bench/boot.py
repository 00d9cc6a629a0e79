# SPDX-License-Identifier: MIT
"""Boots: the panel's machine against a QEMU microVM, and the bare machine likewise."""

import json
import re
import statistics

from lab import host
from lab.errors import LabError
from lab.machine import Machine
from lab.rayvm import guest_files

from . import disk, peer
from .figures import PEER, keep, load, paired, say

GUEST = "console=ttyS0 quiet loglevel=3"
SIZE = (1280, 800)
DISK = "/dev/shm/bench-disk"


class NotBooted(LabError):
    """A monitor ran and its guest did not come up."""

    def __init__(self, name, text):
        super().__init__(f"{name} did not boot the guest: {text}")
        self.name = name


def boot_once(machine, name, argv, *options):
    limit = 45 * host.scale()
    done = machine.run(["/usr/bin/python3", str(peer.paths.SOURCE / "tests/bench/boot-once"), "--timeout", str(limit), *options, "--", *argv], 60)
    result = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if done.status or not result.get("ok"):
        raise NotBooted(name, f"{done.stderr.strip()[-500:]} {json.dumps(result)[-2000:]}")
    return result


def boot_pair(machine, lines, number, *options):
    """One boot of each monitor; who is first alternates."""
    order = list(lines) if number % 2 == 0 else list(lines)[::-1]
    pair = {name: boot_once(machine, name, lines[name], *options) for name in order}
    return {name: pair[name] for name in lines}


class BootLab:
    """The lab machine for boots, made anew when it is lost: a software CPU that emulates virtualisation is not free of faults."""

    FAILURES = 6

    def __init__(self, setup):
        self.machine, self.failed, self.setup = None, {}, setup

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.machine:
            self.machine.quit()

    def get(self):
        """(machine, is it new?)"""
        if self.machine and self.machine.alive:
            return self.machine, False
        self.machine = Machine(display="none", memory=3072)
        self.machine.start()
        say(f"boot: the lab machine came up in {self.machine.boot_seconds:.0f} s, load {load()}")
        self.setup(self.machine)
        return self.machine, True

    def pairs(self, lines, count, *options, until="TINY:PAINTED"):
        """COUNT-1 results {monitor: result}: the first pair of each machine, with cold caches, is dropped."""
        results, number = [], 0
        while len(results) < max(1, count - 1):
            try:
                machine, new = self.get()
                pair = boot_pair(machine, lines, number, "--until", until, *options)
            except LabError as error:
                say(f"  {error}")
                who = error.name if isinstance(error, NotBooted) and self.machine.alive else "lab"
                self.failed[who] = self.failed.get(who, 0) + 1
                if sum(self.failed.values()) > self.FAILURES:
                    raise
                if who == "lab":
                    self.machine.kill()
                number += 1     # the other one begins
                continue
            at = ", ".join(f"{name} {pair[name]['at'][until]:.2f} s (init {pair[name]['at']['TINY:INIT']:.2f} s)" for name in lines)
            say(f"  pair {number + 1}{' (dropped)' if new and count > 1 else ''}: {at}, load {load()}")
            number += 1
            if not new or count == 1:
                results.append(pair)
        return results


def notes(machine, results):
    """How each side's guest memory is backed, which decides how many faults a boot takes."""
    thp = {name: re.search(r"\[(\w+)\]", machine.read_file(f"/sys/kernel/mm/transparent_hugepage/{name}").decode())[1]
           for name in ("enabled", "shmem_enabled")}
    last = results[-1]
    return {"memory": {"rayvm": f"memfd, shmem_enabled={thp['shmem_enabled']}", PEER: f"anonymous, THP enabled={thp['enabled']}"},
            "rss_kb": {name: last[name].get("memory", {}).get("VmRSS") for name in last},
            "huge_kb": {name: last[name].get("memory", {}).get("huge") for name in last}}


def exits(name, results, bound, options):
    totals = {event: {side: statistics.median(r[side]["events"][event]["total"] for r in results) for side in results[0]}
              for event in results[0]["rayvm"]["events"]}
    pairs = [tuple(r[side]["events"]["kvm_userspace_exit"]["total"] for side in ("rayvm", PEER)) for r in results]
    return paired(name, "exits", pairs, bound, 0, guest_kernel=options.guest_kernel, all_exits=totals["kvm_exit"],
                  pio=totals["kvm_pio"], mmio=totals["kvm_mmio"])


def guest_words(options):
    return f"{GUEST} pci=noearly" if options.no_early_pci else GUEST


def bench_desktop(wanted, options):
    """The machine with a screen and input devices, until the first picture."""
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    lines = peer.show(peer.desktop_lines(files, guest_words(options), SIZE, DISK), options)
    with BootLab(lambda machine: machine.sh(f"truncate -s 16M {DISK}", check=True)) as lab:
        if {"boot-to-painted", "boot-to-init"} & set(wanted):
            results = lab.pairs(lines, options.pairs)
            keep("boots.json", results)
            extra = {"guest_kernel": options.guest_kernel, "accel": "kvm" if host.can_nest() else "tcg", "failed": dict(lab.failed),
                     **notes(lab.machine, results)}
            for name, line in (("boot-to-painted", "TINY:PAINTED"), ("boot-to-init", "TINY:INIT")):
                if name in wanted:
                    yield paired(name, "s", [(r["rayvm"]["at"][line], r[PEER]["at"][line]) for r in results], 1.25, **extra)
        if "vm-exits-to-init" in wanted:
            results = lab.pairs(lines, options.count_pairs, "--count")
            keep("exits.json", results)
            yield exits("vm-exits-to-init", results, 1.0, options)


def bench_bare(wanted, options):
    """The machine with a disk and nothing else, until its first program: what the monitor itself takes."""
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    lines = peer.show(peer.bare_lines(files, guest_words(options), disk.BARE), options)
    with BootLab(lambda machine: disk.make_devices(machine, options)) as lab:
        if {"first-entry", "to-init"} & set(wanted):
            results = lab.pairs(lines, options.pairs, "--first-entry", until="TINY:INIT")
            keep("bare-boots.json", results)
            extra = {"guest_kernel": options.guest_kernel, "accel": "kvm" if host.can_nest() else "tcg", "failed": dict(lab.failed),
                     **notes(lab.machine, results)}
            if "first-entry" in wanted:
                pairs = [(r["rayvm"]["first_entry"]["seconds"] * 1e3, r[PEER]["first_entry"]["seconds"] * 1e3) for r in results]
                yield paired("first-entry", "ms", pairs, 1.0, 2, rip={side: results[-1][side]["first_entry"]["rip"] for side in results[-1]}, **extra)
            if "to-init" in wanted:
                yield paired("to-init", "s", [(r["rayvm"]["at"]["TINY:INIT"], r[PEER]["at"]["TINY:INIT"]) for r in results], 1.0, **extra)
        if "exits-to-init" in wanted:
            results = lab.pairs(lines, options.count_pairs, "--count", until="TINY:INIT")
            keep("bare-exits.json", results)
            yield exits("exits-to-init", results, 1.0, options)


