# SPDX-License-Identifier: MIT
"""How long a key takes to the guest. On this machine itself: nothing of it needs KVM or the lab machine."""

import json
import subprocess

from lab import paths

from .figures import absolute, keep, load, say

KEYS = 2000
BOUND_US = 1000     # of the 99th percentile


def bench_key_guest(_wanted, _options):
    program = paths.built("tests/tools/keyguest")
    say(f"key-guest: {KEYS} keys, half a minute, load {load()}")
    run = subprocess.run([str(program), str(KEYS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300)   # markers of the device
    assert run.returncode == 0, f"keyguest: status {run.returncode}, it said {run.stdout}"
    result = json.loads(run.stdout)
    keep("key-guest.json", result)
    most = max(count for _, count in result["buckets"])
    for edge, count in result["buckets"]:
        say(f"    <= {edge:7} us {count:5}  {'#' * -(-count * 50 // most)}")
    figure = absolute("key-guest", result["p99"], "us", BOUND_US, result["p99"] <= BOUND_US)
    return [{**figure, **{name: result[name] for name in ("count", "p50", "p95", "max", "bare_p50", "bare_p99", "priority")}}]
