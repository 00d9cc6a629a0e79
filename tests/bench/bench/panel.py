# SPDX-License-Identifier: MIT
"""The panel alone: how fast a toggle is, how much is copied."""

import time

from lab.errors import LabError
from lab.machine import Machine
from lab.rayvm import Rayvm, guest_files, tiny

from .boot import GUEST, SIZE
from .figures import absolute, load, say

TOGGLES = 200
COPY_SECONDS = 10
# Two framebuffers that take turns, each of which gets what the other one got, too; one that is drawn into while it is shown; whole frames.
COPIES = (("copy-ratio", "bochs-display", "", 2.0), ("copy-ratio-single", "virtio-vga", "", 1.0), ("copy-ratio-flip", "virtio-vga", "tiny.flip=1", 1.0))


def arguments(files, extra=""):
    return ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-d", "mem:16M",
            "-a", f"{GUEST} {extra}".strip(), "--serial", "file:/lab/bench-guest.log"]


def painted(machine, rayvm):
    rayvm.ready()
    rayvm.marker("VIRTIO_GPU:FRAME_READY:1", 120)
    log = machine.results / "bench-guest.log"
    machine.wait_for(lambda: log.exists() and "TINY:READY" in log.read_text(errors="replace"), 60, "the guest's last device")


def ascii_histogram(buckets, interval_us):
    """Buckets [[upper edge in us, count] ...] as rows of a sixth of a refresh interval."""
    step = interval_us / 6
    rows = {}
    for edge, count in buckets:
        rows[int(edge // step)] = rows.get(int(edge // step), 0) + count
    most = max(rows.values(), default=1)
    for row in range(max(rows, default=-1) + 1):
        count = rows.get(row, 0)
        mark = "  <- a refresh interval" if (row + 1) % 6 == 0 else ""
        if count or mark:
            say(f"    < {(row + 1) * step / 1000:7.1f} ms {count:5}  {'#' * -(-count * 50 // most)}{mark}")


def bench_toggle(_wanted, options):
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    with Machine(display="virtio-vga", size=SIZE, memory=2560) as machine, Rayvm(machine, arguments(files)) as rayvm:
        say(f"toggle-flip: the lab machine came up in {machine.boot_seconds:.0f} s, load {load()}")
        painted(machine, rayvm)
        machine.press("KEY_F11")
        machine.wait_screen(tiny, 10, "the guest's picture")
        time.sleep(2)
        rayvm.stats(reset=True)
        began = load()
        for number in range(TOGGLES):
            machine.press("KEY_GRAVE", hold=0.005)
            time.sleep(0.1)
            if number % 50 == 49:
                say(f"  {number + 1} of {TOGGLES} toggles, load {load()}")
        machine.wait_for(lambda: rayvm.stats()["toggle_flip_us"]["count"] >= TOGGLES, 30, f"{TOGGLES} toggles")
        stats, refresh = rayvm.stats(), rayvm.status()["outputs"][0]["refresh"] or 60
        flips, interval = stats["toggle_flip_us"], 1e6 / refresh
        say(f"  key to flip: p50 {flips['p50'] / 1000:.1f} ms, p95 {flips['p95'] / 1000:.1f}, p99 {flips['p99'] / 1000:.1f}, max {flips['max'] / 1000:.1f}")
        ascii_histogram(flips.get("buckets", []), interval)
        limit, worst = 2 * interval / 1000, 150.0
        yield absolute("toggle-flip", round(flips["p95"] / 1000, 2), "ms", round(limit, 2), flips["p95"] / 1000 <= limit and flips["max"] / 1000 <= worst,
                       max=round(flips["max"] / 1000, 2), max_bound=worst, p50=round(flips["p50"] / 1000, 2), p99=round(flips["p99"] / 1000, 2),
                       count=flips["count"], refresh_ms=round(interval / 1000, 2), buckets=flips.get("buckets", []), load_at_start=began)


def copy_ratio(machine, files, name, guest_options, bound):
    with Rayvm(machine, arguments(files, guest_options), log=f"{name}.log") as rayvm:
        (machine.results / "bench-guest.log").unlink(missing_ok=True)
        painted(machine, rayvm)
        machine.press("KEY_F11")
        machine.wait_screen(tiny, 20, "the guest's picture")
        time.sleep(2)
        rayvm.stats(reset=True)
        time.sleep(COPY_SECONDS)
        stats, path = rayvm.stats(), rayvm.status()["path"]
        rayvm.quit()
    if not stats["bytes_damaged"]:
        raise LabError(f"{name}: the guest damaged nothing in {COPY_SECONDS} s: {stats}")
    if not guest_options and stats["bytes_damaged"] >= stats["frames_presented"] * SIZE[0] * SIZE[1] * 4:
        raise LabError(f"{name}: the guest's driver says that all of each frame is new: {stats['bytes_damaged']} bytes of {stats['frames_presented']} frames")
    ratio = round(stats["bytes_copied"] / stats["bytes_damaged"], 3)
    return absolute(name, ratio, "bytes/byte", bound, ratio <= bound, copied=stats["bytes_copied"], damaged=stats["bytes_damaged"],
                    presented=stats["frames_presented"], dropped=stats["frames_dropped"], path=path)


def bench_copy(wanted, _options):
    # From Linux 6.8 on virtio-gpu's driver says after a flip (its console's will do) that all of each frame is new: ignore_damage_clips, until the fix of 2026.
    files = guest_files("make-tiny", "--kernel", "debian-6.1")
    for display in sorted({copy[1] for copy in COPIES if copy[0] in wanted}):
        with Machine(display=display, size=SIZE, memory=2560) as machine:
            say(f"copy-ratio: the lab machine with {display} came up in {machine.boot_seconds:.0f} s, load {load()}")
            for name, on, guest, bound in COPIES:
                if name in wanted and on == display:
                    yield copy_ratio(machine, files, name, guest, bound)
