# SPDX-License-Identifier: MIT
"""
First-vblank hits: how many toggles are on the panel at the first vblank after the front thread had read the event and the latch's margin
had passed. On this machine itself, no lab: rayvm with its panel in memory, whose vblanks come at 60 Hz, so that the real router, latch,
front thread and worker are measured and a software CPU is not.
"""

import contextlib
import os
import pathlib
import random
import struct
import tempfile
import threading
import time

from lab import paths
from lab.errors import LabError

from . import late as lates
from .figures import keep, load, say
from .native import Panel, bare_wakes

REFRESH_US = 1e6 / 60
PATTERN = ["--features", "dev_scanout"]
ENTRY = 0x1000000
BOUND, BOUND_REALTIME = 0.99, 0.999
# Vblanks from one toggle to the next, each at another moment between two vblanks, now and then wholly another one. It waits until the last one is on the screen.
GAP, LONG_GAP, LONG_ONE_IN = (1.0, 1.06), (1.0, 2.0), 20
WAIT = 0.1, 1       # vblanks, where it was not
LOOK = 0.0005       # seconds: about what asking takes
SILENCE = 5         # seconds without an answer or a flip: nothing that could be measured
TEXT = "the quick brown fox jumps over the lazy dog\n"   # no command: a line of the transcript, which scrolls


def spinning_kernel(path):
    """An ELF kernel for the 64-bit entry that never leaves its CPU: one segment, one jump to itself."""
    code = b"\xeb\xfe"
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, ENTRY, ENTRY, len(code), len(code), 0x1000)
    path.write_bytes((header + segment).ljust(0x1000, b"\0") + code)
    return path


@contextlib.contextmanager
def repeating(panel, once):
    """once(client) over and over, as fast as it is answered. It must have been answered, to the end."""
    stop, answered, last, client = threading.Event(), [0], [0.0], panel.client()

    def run():
        while not stop.is_set():
            try:
                once(client)
                answered[0], last[0] = answered[0] + 1, time.monotonic()
            except LabError:        # no room at the moment
                time.sleep(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end = time.monotonic()
        stop.set()
        thread.join()
        client.close()
    if last[0] < end - SILENCE:
        raise LabError(f"{answered[0]} requests were answered beside the toggles, and none in the last {SILENCE} s")
    say(f"  {answered[0]} times beside them")


def screenshot(path):
    def once(client):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            client("screenshot", [fd])
        finally:
            os.close(fd)
    return once


@contextlib.contextmanager
def growing(panel, counter, rate):
    """The guest's own flood: COUNTER of the statistics must grow by RATE a second at least."""
    before, begin = panel("stats")[counter], time.monotonic()
    yield
    a_second = (panel("stats")[counter] - before) / (time.monotonic() - begin)
    say(f"  {counter}: {a_second:.0f} a second beside them")
    if a_second < rate:
        raise LabError(f"{counter} grew by {a_second:.0f} a second: that is no flood")


def kernel(path):
    return ["-k", path, "-m", "64M", "-s", "1"]


def payload(name):
    return kernel(paths.built(f"tests/payload/{name}"))


def disk(path):
    with open(path, "wb") as file:
        file.truncate(32 << 20)
    return path


@contextlib.contextmanager
def quiet(_panel):
    yield


@contextlib.contextmanager
def deaf(panel, action=None):
    """Typing into a guest that never empties its event queue. The queue must have been full; ACTION: of the VM, before."""
    if action:
        panel("vm", action=action)
    with repeating(panel, lambda client: client("type", text=TEXT, guest=True)):
        yield
    if not panel("stats")["input_dropped"]:
        raise LabError("the guest took all that was typed: nothing was measured")


def loads(folder):
    """name -> function: (arguments, what goes on beside the toggles)."""
    return {
        "idle": lambda: ([], quiet),
        "animated": lambda: (PATTERN, quiet),
        "vcpu-flood": lambda: (kernel(spinning_kernel(folder / "spin.elf")), quiet),
        "full-queue": lambda: (payload("wedged"), deaf),
        "paused": lambda: (payload("wedged"), lambda panel: deaf(panel, "pause")),
        "import-storm": lambda: (payload("flood-imports"), lambda panel: growing(panel, "frames_flushed", 100)),
        "disk-flood": lambda: ([*payload("flood-disk"), "-d", disk(folder / "disk.img")], lambda panel: growing(panel, "disk_requests", 1000)),
        "ui-redraw": lambda: (PATTERN, lambda panel: repeating(panel, lambda client: client("type", text=TEXT))),
        "screenshot": lambda: (PATTERN, lambda panel: repeating(panel, screenshot(folder / "shot.png"))),
        "blocked-markers": lambda: (PATTERN, quiet),
    }


@contextlib.contextmanager
def blocked_pipe():
    """The end of a full pipe to write to; nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def press(panel, toggles):
    """Statistics afterwards, and the late toggles: number -> what rayvm tells of it, which keeps the last few."""
    late, begin = {}, time.monotonic()

    def vblanks(span):
        return random.uniform(*span) * REFRESH_US / 1e6

    def look():
        stats = panel("stats")
        late.update((toggle["number"], toggle) for toggle in stats["late"])
        return stats, stats["toggle_flip_us"]["count"] + stats["toggles_replaced"]

    panel("stats", reset=True)
    for number in range(1, toggles + 1):
        panel("press", keys=["KEY_GRAVE"])      # it was read when this returns
        read = time.monotonic()
        time.sleep(vblanks(LONG_GAP if random.randrange(LONG_ONE_IN) == 0 else GAP) - LOOK)
        while look()[1] < number:
            if time.monotonic() > read + SILENCE:
                raise LabError(f"toggle {number} of {toggles} is not on the screen after {SILENCE} s")
            time.sleep(vblanks(WAIT))
        if number % 1000 == 0:
            say(f"  {number} of {toggles} toggles in {time.monotonic() - begin:.0f} s, {len(late)} late, load {load()}")
    return look()[0], late


def steal_ms():
    """Time that whoever runs this machine gave to others, by proc_stat(5), all CPUs."""
    return int(pathlib.Path("/proc/stat").read_text().split(maxsplit=9)[8]) * 1000 // os.sysconf("SC_CLK_TCK")


def explained(stats, late, bare):
    """The late toggles in order, each with what it is due to."""
    if len(late) < stats["toggles_late"]:
        say(f"  {stats['toggles_late'] - len(late)} of the late toggles are not among those that rayvm kept")
    if not bare["watched"]:
        say("  the watches have no real-time priority here: nothing is said to be the machine's")
    return [lates.explain(late[number], bare["holes"] if bare["watched"] else []) for number in sorted(late)]


def judge(name, stats, late, bare, realtime, options):
    hit, missed, flips = stats["toggles_in_time"], stats["toggles_late"], stats["toggle_flip_us"]
    # The first after a rest is not judged: where the vblanks are is known from flips.
    if flips["count"] + stats["toggles_replaced"] < options.toggles or hit + missed < 0.95 * flips["count"]:
        raise LabError(f"{name}: of {options.toggles} toggles {flips['count']} were shown, {hit + missed} judged and {stats['toggles_replaced']} replaced")
    bound = BOUND_REALTIME if realtime else BOUND
    share = hit / (hit + missed)
    return {"name": f"first-vblank-{name}", "value": round(100 * share, 3), "unit": "%", "bound": 100 * bound, "holds": share >= bound, "better": "higher",
            "load": load(), "toggles": hit + missed, "late": missed, **lates.count(late), "worst_vblanks_late": stats["toggles_late_max"],
            "replaced": stats["toggles_replaced"], "realtime": realtime,
            "flip_p50_us": flips["p50"], "flip_p99_us": flips["p99"], "flip_max_us": flips["max"], "commit_p99_us": stats["toggle_commit_us"]["p99"],
            "read_p99_us": stats["key_read_us"]["p99"], "read_max_us": stats["key_read_us"]["max"], "latch_misses": stats["latch_misses"],
            "front_stalls": stats["front_stalls"], "front_stalls_own": stats["front_stalls_own"], "bare_late": bare["late"], "bare_ticks": bare["timer"]["count"], "bare_realtime": bare["priority"] == 2,
            "bare_timer_p99_us": bare["timer"]["p99"], "bare_timer_max_us": bare["timer"]["max"],
            "bare_read_p99_us": bare["event"]["p99"], "bare_read_max_us": bare["event"]["max"],
            "holes": len(bare["holes"]), "holes_ms": round(sum(us for _, _, us in bare["holes"]) / 1000), "steal_ms": bare["steal_ms"],
            "longest_hole_us": max((us for _, _, us in bare["holes"]), default=0), "watched": bare["watched"], "each_late": late}


def measure(name, arguments, beside, options, folder):
    with contextlib.ExitStack() as stack:
        writing = stack.enter_context(blocked_pipe()) if name == "blocked-markers" else None
        panel = stack.enter_context(Panel(folder, arguments, writing))
        time.sleep(1)
        realtime = panel.realtime()
        stolen = steal_ms()
        with bare_wakes() as bare, beside(panel):
            stats, late = press(panel, options.toggles)
    bare["steal_ms"] = steal_ms() - stolen
    late = explained(stats, late, bare)
    keep(f"first-vblank-{name}.json", {"stats": stats, "late": late, "bare": bare})
    for toggle in late if options.verbose else ():
        say(f"  {lates.sentence(toggle)}")
    figure = judge(name, stats, late, bare, realtime, options)
    say(f"  {figure['late']} of {figure['toggles']} late, by {figure['worst_vblanks_late']} at most: {figure['late_machine']} by the machine, {figure['late_rayvm']} by rayvm, "
        f"{figure['late_unexplained']} unexplained; {figure['front_stalls']} long turns, {figure['front_stalls_own']} of them at work; key to read p99 {figure['read_p99_us']} us, longest {figure['read_max_us']}; a bare reader: "
        f"p99 {figure['bare_read_p99_us']}, longest {figure['bare_read_max_us']}, its timer later than the margin {bare['late']} times of {bare['timer']['count']}")
    return figure


NAMES = tuple(f"first-vblank-{name}" for name in loads(pathlib.Path()))


def bench_latch(wanted, options):
    """A load that cannot be measured does not keep the others from it."""
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, prepare in loads(pathlib.Path(temporary)).items():
            if f"first-vblank-{name}" in wanted:
                say(f"first-vblank-{name}: {options.toggles} toggles, load {load()}")
                folder = pathlib.Path(temporary) / name
                folder.mkdir()
                try:
                    yield measure(name, *prepare(), options, folder)
                except (LabError, OSError) as error:
                    say(f"  {error}")
                    failed.append(name)
    if failed:
        raise LabError(f"nothing was measured with {', '.join(failed)}")
