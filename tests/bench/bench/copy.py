# SPDX-License-Identifier: MIT
"""The worker's copy of a frame against one memcpy() of the same bytes, in turn. Runs here, without a lab machine."""

import subprocess

from lab import paths

from .figures import keep, paired, say

WAYS = ("whole", "rows", "huge-pages", "pages")
NAMES = tuple(f"copy-speed-{way}" for way in WAYS)
COPIES = 20
FRAME = 1920 * 1080 * 4
BOUND = 0.9


def bench_copy_speed(wanted, options):
    program = paths.BUILD / "tests/tools/copyspeed"
    if not program.exists():
        raise OSError(f"{program} is not built")
    say(f"copy-speed: {options.pairs} pairs of {COPIES} frames each")
    try:
        lines = subprocess.run([program, str(options.pairs), str(COPIES)], check=True, capture_output=True, text=True).stdout.splitlines()
    except subprocess.CalledProcessError as error:
        raise OSError(f"{program} failed ({error.returncode}): {error.stderr.strip()}") from error
    taken = {way: [] for way in WAYS}
    for line in lines:
        way, ours, plain = line.split()
        taken[way].append(tuple(FRAME * COPIES / int(ns) for ns in (ours, plain)))  # bytes a nanosecond
    keep("copy-speed.json", taken)
    for way, name in zip(WAYS, NAMES):
        if name in wanted:
            # The first pair is dropped: the pages are touched, the clock rises.
            pairs = taken[way][1:] or taken[way]
            yield paired(name, "GB/s", pairs, BOUND, digits=2, better="higher", peer="memcpy", frame_bytes=FRAME)
