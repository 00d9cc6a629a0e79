# SPDX-License-Identifier: MIT
"""
First-vblank hits: how many toggles are on the panel at the first vblank after the front thread had read the event and the latch's margin
had passed. On this machine itself, no lab: rayvm with its panel in memory, whose vblanks come at 60 Hz, so that the real router, latch,
front thread and worker are measured and a software CPU is not.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import tempfile
import threading
import time

from lab import paths
from lab.errors import LabError

from .figures import load, say

REFRESH_US = 1e6 / 60
PATTERN = ["--features", "dev_scanout"]
ENTRY = 0x1000000
BOUND, BOUND_REALTIME = 0.99, 0.999


def spinning_kernel(path):
    """An ELF kernel for the 64-bit entry that never leaves its CPU: one segment, one jump to itself."""
    code = b"\xeb\xfe"
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, ENTRY, ENTRY, len(code), len(code), 0x1000)
    path.write_bytes((header + segment).ljust(0x1000, b"\0") + code)
    return path


class Panel:
    """One rayvm with a panel in memory."""

    def __init__(self, folder, arguments, markers=None):
        self.socket = folder / "control"
        self.log = folder / "rayvm.log"
        argv = [str(paths.built("src/rayvm")), "--display", "headless", "--mode", "1280x800@60", "--control", str(self.socket),
                "--markers", f"fd:{markers}" if markers is not None else str(folder / "markers"), *map(str, arguments)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[markers] if markers is not None else [])
        for _ in range(500):
            if self.socket.exists() and subprocess.run(self.command("status"), capture_output=True, check=False).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.end()
        raise LabError(f"rayvm did not start: {self.log.read_text(errors='replace')[-800:]}")

    @staticmethod
    def program():
        return str(paths.built("src/rayvmctl"))

    def command(self, *words):
        return [self.program(), "-s", str(self.socket), *map(str, words)]

    def ctl(self, *words):
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"rayvmctl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def realtime(self):
        """The front thread is the process's first."""
        return os.sched_getscheduler(self.process.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR


@contextlib.contextmanager
def repeating(panel, *words):
    """A command over and over, as fast as it is answered. It must have been answered."""
    stop, answered = threading.Event(), [0]

    def run():
        while not stop.is_set():
            if subprocess.run(panel.command(*words), capture_output=True, check=False).returncode == 0:
                answered[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if not answered[0]:
        raise LabError(f"no {words[0]} was answered beside the toggles")


@contextlib.contextmanager
def quiet(_panel):
    yield


@contextlib.contextmanager
def deaf(panel, *words):
    """Typing into a guest that never empties its event queue. The queue must have been full; WORDS: a command before."""
    if words:
        panel.ctl(*words)
    with repeating(panel, "type", "--guest", "the quick brown fox jumps over the lazy dog "):
        yield
    if not json.loads(panel.ctl("stats", "--json"))["input_dropped"]:
        raise LabError("the guest took all that was typed: nothing was measured")


def loads(folder):
    """(name, arguments, what goes on beside the toggles)."""
    wedged = ["-k", paths.built("tests/payload/wedged"), "-m", "64M", "-s", "1"]
    return (
        ("idle", [], quiet),
        ("animated", PATTERN, quiet),
        ("vcpu-flood", ["-k", spinning_kernel(folder / "spin.elf"), "-m", "64M", "-s", "1"], quiet),
        ("full-queue", wedged, deaf),
        ("paused", wedged, lambda panel: deaf(panel, "vm", "pause")),
        ("ui-redraw", PATTERN, lambda panel: repeating(panel, "type", "the quick brown fox jumps over the lazy dog ")),
        ("screenshot", PATTERN, lambda panel: repeating(panel, "screenshot", folder / "shot.png")),
        ("blocked-markers", PATTERN, quiet),
    )


def measure(name, arguments, beside, options, folder):
    reading = writing = None
    if name == "blocked-markers":
        reading, writing = os.pipe()        # nobody reads
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
    panel = Panel(folder, arguments, writing)
    try:
        time.sleep(1)
        realtime = panel.realtime()
        with beside(panel):
            panel.ctl("stats", "--reset")
            for number in range(options.toggles):
                panel.ctl("press", "KEY_GRAVE")
                time.sleep(random.uniform(2.2, 4.0) * REFRESH_US / 1e6)     # never two for one vblank
                if number % 1000 == 999:
                    say(f"  {number + 1} of {options.toggles} toggles")
            time.sleep(0.2)
            stats = json.loads(panel.ctl("stats", "--json"))
    finally:
        panel.end()
        for fd in (reading, writing):
            if fd is not None:
                os.close(fd)
    hit, late, flips = stats["toggles_in_time"], stats["toggles_late"], stats["toggle_flip_us"]
    # The first after a rest is not judged: where the vblanks are is known from flips.
    if flips["count"] + stats["toggles_replaced"] < options.toggles or hit + late < 0.95 * flips["count"]:
        raise LabError(f"{name}: of {options.toggles} toggles {flips['count']} were shown, {hit + late} judged and {stats['toggles_replaced']} replaced")
    bound = BOUND_REALTIME if realtime else BOUND
    share = hit / (hit + late)
    return {"name": f"first-vblank-{name}", "value": round(100 * share, 3), "unit": "%", "bound": 100 * bound, "holds": share >= bound, "better": "higher",
            "load": load(), "toggles": hit + late, "late": late, "replaced": stats["toggles_replaced"], "realtime": realtime,
            "flip_p50_us": flips["p50"], "flip_p99_us": flips["p99"], "flip_max_us": flips["max"], "commit_p99_us": stats["toggle_commit_us"]["p99"]}


NAMES = tuple(f"first-vblank-{name}" for name in ("idle", "animated", "vcpu-flood", "full-queue", "paused", "ui-redraw", "screenshot", "blocked-markers"))


def bench_latch(wanted, options):
    with tempfile.TemporaryDirectory() as temporary:
        for name, arguments, beside in loads(pathlib.Path(temporary)):
            if f"first-vblank-{name}" in wanted:
                say(f"first-vblank-{name}: {options.toggles} toggles, load {load()}")
                folder = pathlib.Path(temporary) / name
                folder.mkdir()
                yield measure(name, arguments, beside, options, folder)
