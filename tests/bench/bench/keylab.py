# SPDX-License-Identifier: MIT
"""How long a key of a real device takes to a real guest, in the lab machine, beside a bare reader of the same device."""

import json

from lab import paths
from lab.machine import Machine
from lab.rayvm import Rayvm, guest_files, tiny
from lab.uinput import Player

from .boot import SIZE
from .figures import absolute, keep, load, say
from .panel import arguments, painted

KEYS = 2000             # presses and releases
APART_MS = 15           # the backlog lets 100 a second pass
MORE_US = 2000          # than the reader's 99th percentile
DEVICE = "bench-keyboard"


def bench_key_guest_lab(_wanted, options):
    files = guest_files("make-tiny", "--kernel", options.guest_kernel)
    with Machine(display="virtio-vga", size=SIZE, memory=2560) as machine, Rayvm(machine, arguments(files, "tiny.fps=0")) as rayvm:
        say(f"key-guest-lab: {KEYS} keys, a minute, load {load()}")
        painted(machine, rayvm)
        player = Player(machine)
        player.play(f"keyboard {DEVICE}", 20)
        rayvm.job.wait_log(f"{DEVICE}: device", 20, again=True)
        readers = {name: machine.spawn([paths.built("tests/tools/keyread"), DEVICE, str(KEYS), name], log=f"keyread-{name}.log") for name in ("ordinary", "raised")}
        for reader in readers.values():
            reader.wait_log("^ready$", 20)
        machine.press("KEY_F11")
        machine.wait_screen(tiny, 20, "the guest's picture")
        # A picture for each key is the guest's own, and its load on a software CPU.
        machine.sh(f"(echo hang; exec sleep 1) | {paths.built('src/rayvmctl')} -s /run/rayvm.sock console com1", check=True)
        rayvm.stats(reset=True)
        player.play(f"taps {DEVICE} {KEYS // 2} {APART_MS}", KEYS * 0.1 + 30)
        bare = {}
        for name, reader in readers.items():
            assert reader.wait(30) == 0, reader.log_text()
            bare[name] = json.loads(reader.log_text().splitlines()[-1])
        stats = rayvm.stats()
        guest = stats["key_guest_us"]
        assert guest["count"] == KEYS and not stats["input_dropped"], f"{guest['count']} of {KEYS} keys reached the guest's queue, {stats['input_dropped']} dropped"
    keep("key-guest-lab.json", {"guest": guest, "bare": bare})
    for name, found in (("guest's queue", guest), ("bare reader", bare["ordinary"]), ("raised reader", bare["raised"])):
        say(f"  {name:14} p50 {found['p50']} us, p95 {found['p95']}, p99 {found['p99']}, max {found['max']}")
    bound = bare["ordinary"]["p99"] + MORE_US
    yield absolute("key-guest-lab", guest["p99"], "us", bound, guest["p99"] <= bound, count=KEYS, p50=guest["p50"], p95=guest["p95"], max=guest["max"],
                   bare_p50=bare["ordinary"]["p50"], bare_p99=bare["ordinary"]["p99"], raised_p50=bare["raised"]["p50"], raised_p99=bare["raised"]["p99"])
