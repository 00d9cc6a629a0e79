# SPDX-License-Identifier: MIT
"""How often the front thread wakes while nothing changes on the screen: its context switches, of which each wake-up is one."""

import pathlib
import tempfile
import time

from lab.errors import LabError
from lab.machine import Machine
from lab.rayvm import Rayvm, guest_files, tiny

from .boot import SIZE
from .figures import absolute, load, say
from .native import Panel
from .panel import arguments, painted

NAMES = tuple(f"idle-front-{name}" for name in ("ui-headless", "ui", "guest"))
KEY = "KEY_LEFTSHIFT"   # of no consequence to either face
SECONDS = 20
BOUND = 1.0


def figure(name, counted, where):
    rate = counted / SECONDS
    return absolute(name, round(rate, 2), "1/s", BOUND, rate < BOUND, switches=counted, seconds=SECONDS, where=where)


def switches(pid, read, press):
    """Context switches of the process's first thread, without a word to it meanwhile; READ: a file's bytes. PRESS: a key, for which it has to wake, so that it is seen to be counted."""
    def count():
        status = read(f"/proc/{pid}/task/{pid}/status").decode()
        return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

    time.sleep(3)
    before = count()
    time.sleep(SECONDS)
    after = count()
    press()
    time.sleep(1)
    if count() == after:
        raise LabError("a key was pressed without a context switch: that is not the front thread's count")
    return after - before


def natively():
    """On this machine: the UI on a panel in memory."""
    with tempfile.TemporaryDirectory() as folder, Panel(pathlib.Path(folder), []) as panel:
        return switches(panel.process.pid, lambda path: pathlib.Path(path).read_bytes(), lambda: panel("press", keys=[KEY]))


def inside(machine, rayvm):
    return switches(rayvm.job.pid, machine.read_file, lambda: rayvm.ctl("press", KEY))


def bench_idle(wanted, options):
    headless, ui, guest = NAMES
    if headless in wanted:
        say(f"idle-front: the UI on a panel in memory, {SECONDS} s, load {load()}")
        yield figure(headless, natively(), "this machine")
    if not {ui, guest} & set(wanted):
        return
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    with Machine(display="virtio-vga", size=SIZE, memory=2560) as machine, Rayvm(machine, arguments(files, "tiny.fps=0")) as rayvm:
        say(f"idle-front: the lab machine came up in {machine.boot_seconds:.0f} s, load {load()}")
        painted(machine, rayvm)
        if ui in wanted:
            yield figure(ui, inside(machine, rayvm), "virtio-vga")
        if guest in wanted:
            machine.press("KEY_F11")
            machine.wait_screen(tiny, 20, "the guest's picture")
            yield figure(guest, inside(machine, rayvm), "virtio-vga, a guest that draws nothing")
