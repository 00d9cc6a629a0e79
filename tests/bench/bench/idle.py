# SPDX-License-Identifier: MIT
"""How often the front thread wakes while nothing changes on the screen: its context switches, of which each wake-up is one."""

import pathlib
import tempfile
import time

from lab.machine import Machine
from lab.rayvm import Rayvm, guest_files, tiny

from .boot import SIZE
from .figures import absolute, load, say
from .native import Panel, context_switches
from .panel import arguments, painted

SECONDS = 20
BOUND = 1.0


def figure(name, switches, where):
    rate = switches / SECONDS
    return absolute(name, round(rate, 2), "1/s", BOUND, rate < BOUND, switches=switches, seconds=SECONDS, where=where)


def natively():
    """On this machine: the UI on a panel in memory."""
    with tempfile.TemporaryDirectory() as folder, Panel(pathlib.Path(folder), []) as panel:
        time.sleep(2)
        before = context_switches(panel.process.pid)
        time.sleep(SECONDS)
        return context_switches(panel.process.pid) - before


def inside(machine, pid):
    """Counted in the lab machine, without a word to rayvm meanwhile."""
    def count():
        status = machine.read_file(f"/proc/{pid}/task/{pid}/status").decode()
        return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

    time.sleep(3)
    before = count()
    time.sleep(SECONDS)
    return count() - before


def bench_idle(wanted, options):
    if "idle-front-ui-headless" in wanted:
        say(f"idle-front: the UI on a panel in memory, {SECONDS} s, load {load()}")
        yield figure("idle-front-ui-headless", natively(), "this machine")
    if not {"idle-front-ui", "idle-front-guest"} & set(wanted):
        return
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    with Machine(display="virtio-vga", size=SIZE, memory=2560) as machine, Rayvm(machine, arguments(files, "tiny.fps=0")) as rayvm:
        say(f"idle-front: the lab machine came up in {machine.boot_seconds:.0f} s, load {load()}")
        painted(machine, rayvm)
        if "idle-front-ui" in wanted:
            yield figure("idle-front-ui", inside(machine, rayvm.job.pid), "virtio-vga")
        if "idle-front-guest" in wanted:
            machine.press("KEY_F11")
            machine.wait_screen(tiny, 20, "the guest's picture")
            yield figure("idle-front-guest", inside(machine, rayvm.job.pid), "virtio-vga, a guest that draws nothing")
