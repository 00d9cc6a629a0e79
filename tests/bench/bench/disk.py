# SPDX-License-Identifier: MIT
"""Disks: fio in both guests in turn, system calls a request, CPU time, an idle guest, memory. tests/bench/duel does it inside."""

import json
import statistics
import subprocess
import tempfile

from lab import host, paths
from lab.errors import LabError
from lab.machine import Machine
from lab.rayvm import guest_files

from . import peer
from .figures import PEER, absolute, keep, load, paired, say

GUEST = "console=ttyS0 quiet loglevel=3 pci=noearly nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
SIZE_MIB = 128
# A RAM disk of the lab machine's kernel for each side and cache mode: null_blk, which keeps data and has a request queue
# like a real disk, without a real disk's noise.
MODES = ("none", "writeback")
DEVICES = {(side, mode): f"/dev/bench{number}" for number, (side, mode) in
           enumerate((side, mode) for mode in MODES for side in ("rayvm", PEER))}
BARE = {"rayvm": DEVICES["rayvm", "none"], PEER: DEVICES[PEER, "none"]}

FIO = ["--name=j", "--filename={disk}", "--ioengine=io_uring", "--direct=1", "--thread", "--norandommap", "--randrepeat=0",
       "--gtod_reduce=1", "--disable_lat=1", "--minimal", "--eta=never", f"--size={SIZE_MIB}m", "--invalidate=0"]
TIMED = ["--time_based", "--runtime={seconds}", "--ramp_time=200ms"]
# Name -> fio's words. Units: 4 KiB jobs in requests a second, 1 MiB jobs in MiB a second.
JOBS = {
    "randread-qd1": ["--rw=randread", "--bs=4k", "--iodepth=1"],
    "randread-qd32": ["--rw=randread", "--bs=4k", "--iodepth=32", "--iodepth_batch_complete_min=1", "--iodepth_batch_complete_max=32"],
    "randwrite-qd32": ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--iodepth_batch_complete_min=1", "--iodepth_batch_complete_max=32"],
    "seqread-1m": ["--rw=read", "--bs=1m", "--iodepth=4"],
    "seqwrite-1m": ["--rw=write", "--bs=1m", "--iodepth=4"],
}
FIXED_REQUESTS = 8000


def make_devices(machine, options):
    """The RAM disks, written once so that every page is there; and huge pages for both sides' guest memory."""
    setup = ["modprobe null_blk nr_devices=0", "mount -t configfs configfs /sys/kernel/config 2>/dev/null || true", "cd /sys/kernel/config/nullb"]
    for number in range(len(DEVICES)):
        setup.append(f"mkdir bench{number} && cd bench{number} && echo 1 >memory_backed && echo {SIZE_MIB} >size && echo 2 >queue_mode && "
                     f"echo 1 >irqmode && echo 512 >blocksize && echo 1 >power && cd ..")
    for device in DEVICES.values():
        setup.append(f"for try in 1 2 3 4 5 6 7 8 9 10; do test -b {device} || sleep 0.1; done; test -b {device}")
        setup.append(f"dd if=/dev/zero of={device} bs=1M count={SIZE_MIB} oflag=direct status=none")
    huge = {"huge": ("always", "advise"), "small": ("never", "never")}[options.pages]
    for name, value in zip(("enabled", "shmem_enabled"), huge):
        setup.append(f"echo {value} >/sys/kernel/mm/transparent_hugepage/{name}")
    machine.sh("set -e\n" + "\n".join(setup), 120, check=True)


def lines_for(files, options):
    cache = {"none": "direct", "writeback": "writeback"}
    ours, theirs = [], []
    for mode in MODES:
        ours += ["-d", f"{DEVICES['rayvm', mode]},cache={cache[mode]}"]
        theirs += peer.qemu_disk(mode, DEVICES[PEER, mode], mode)
    return {"rayvm": peer.rayvm(files, GUEST, *ours), PEER: peer.qemu(files, GUEST, *theirs, machine=options.peer_machine)}


def fio_words(job, mode, *more):
    return [word.format(disk="/dev/vd" + "ab"[MODES.index(mode)]) for word in [*FIO, *JOBS[job], *more]]


def fixed(job):
    """The words of a job with a fixed number of requests instead of a time."""
    return [f"--number_ios={FIXED_REQUESTS if job.endswith('32') else FIXED_REQUESTS // 5}", "--io_size=1g"]


def steps(wanted, options):
    """What the duel shall do for these benchmarks."""
    result = []
    for mode in MODES:
        for job in JOBS:
            if f"fio-{job}-{mode}" in wanted:
                timed = [word.format(seconds=options.seconds) for word in TIMED]
                result.append({"do": "fio", "name": f"fio-{job}-{mode}", "args": fio_words(job, mode, *timed), "pairs": options.pairs})
        for depth in ("qd1", "qd32"):
            job = f"randread-{depth}"
            if f"cpu-{depth}-{mode}" in wanted:
                result.append({"do": "fio", "name": f"cpu-{depth}-{mode}", "args": fio_words(job, mode, *fixed(job)), "pairs": options.pairs})
            if f"syscalls-{depth}-{mode}" in wanted:
                result.append({"do": "count", "name": f"syscalls-{depth}-{mode}", "args": fio_words(job, mode, *fixed(job), "--output=/dev/null"),
                               "pairs": options.count_pairs})
    if {"idle-wakeups", "idle-wakeups-outside"} & set(wanted):
        result.append({"do": "idle", "name": "idle", "seconds": 10, "pairs": 3})
    return [{"do": "memory", "name": "memory", "pairs": 1}, *result]


def follow(machine, spec):
    """Run the duel inside; yields its results as they come."""
    machine.put_file("/run/duel.json", json.dumps(spec))
    job = machine.spawn(["/usr/bin/python3", str(paths.SOURCE / "tests/bench/duel"), "/run/duel.json"], log="duel.log")
    while True:
        entry = json.loads(job.wait_log(r"^\{.*\}$", 240)[0])
        if "lost" in entry:
            raise LabError(entry["lost"])
        if "end" in entry:
            return
        yield entry


def binary_size():
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["strip", "-o", file.name, str(paths.built("src/rayvm"))], check=True)
        file.seek(0, 2)
        return file.tell()


def tell(entry):
    """A line of progress for one result."""
    if "iops" in entry:
        figure = f"{entry['iops']} requests/s, {entry['kib_s'] / 1024:.1f} MiB/s, CPU {entry['cpu']:.2f} s"
    elif "per_request" in entry:
        figure = f"{entry['per_request']} system calls a request ({entry['outside_kvm_run']} but KVM_RUN)"
    elif "outside" in entry:
        figure = f"{entry['total']} wake-ups/s ({entry['outside']} outside the guest)"
    else:
        figure = f"{entry['beside_kb']} KiB beside {entry['ram_kb']} KiB of guest memory ({entry['huge_kb']} KiB in huge pages)"
    say(f"  {entry['step']} {entry['pair']} {entry['side']}: {figure}")


def collect(todo, options, failures=4):
    """Yields (step, [{side: result} ...], labs lost so far) as soon as a step is done. A lab machine that is lost is started anew for what is left."""
    results, files, failed = {}, guest_files("make-fio", "--kernel", options.guest_kernel), 0
    lines = peer.show(lines_for(files, options), options)
    todo = {step["name"]: dict(step, left=step["pairs"]) for step in todo}
    while any(step["left"] for step in todo.values()):
        try:
            with Machine(display="none", memory=3072) as machine:
                say(f"duel: the lab machine came up in {machine.boot_seconds:.0f} s, load {load()}")
                make_devices(machine, options)
                spec = {"sides": lines, "timeout": 60 * host.scale(),
                        "steps": [dict(step, pairs=step["left"]) for step in todo.values() if step["left"]]}
                half = {}
                for entry in follow(machine, spec):
                    if "ready" in entry:
                        say(f"  {entry['ready']} is ready after {entry['seconds']} s")
                        continue
                    tell(entry)
                    half[entry["side"]] = entry
                    if len(half) < len(lines):
                        continue
                    step = todo[entry["step"]]
                    results.setdefault(step["name"], []).append(half)
                    half, step["left"] = {}, step["left"] - 1
                    if not step["left"]:
                        keep("duel.json", results)
                        yield step, results[step["name"]], failed
        except LabError as error:
            failed += 1
            say(f"duel: {error}")
            if failed > failures:
                raise


def pairs_of(results, value):
    """[(ours, theirs)], the first dropped where there are more."""
    taken = [(value(pair["rayvm"]), value(pair[PEER])) for pair in results]
    return taken[1:] if len(taken) > 1 else taken


def threads_of(results):
    """Median seconds of CPU by thread name and side, the kernel's io_uring workers among them."""
    return {side: {name: round(statistics.median(pair[side]["threads"].get(name, 0) for pair in results), 3)
                   for name in sorted({name for pair in results for name in pair[side]["threads"]})} for side in results[0]}


def idle_figures(wanted, results):
    by = {side: {thread: statistics.median(pair[side]["by"].get(thread, 0) for pair in results)
                 for thread in sorted({thread for pair in results for thread in pair[side]["by"]})} for side in results[0]}
    if "idle-wakeups" in wanted:
        yield paired("idle-wakeups", "1/s", [(pair["rayvm"]["total"], pair[PEER]["total"]) for pair in results], 1.0, by=by)
    if "idle-wakeups-outside" in wanted:
        value = {side: statistics.median(pair[side]["outside"] for pair in results) for side in results[0]}
        yield absolute("idle-wakeups-outside", round(value["rayvm"], 2), "1/s", 2, value["rayvm"] < 2, peer=PEER,
                       peer_value=round(value[PEER], 2), by=by)


def count_figure(name, results, **extra):
    last = results[-1]
    return paired(name, "calls", pairs_of(results, lambda entry: entry["per_request"]), 1.0, 3,
                  outside_kvm_run={side: entry["outside_kvm_run"] for side, entry in last.items()},
                  kvm_run={side: round(entry["kvm_run"] / entry["requests"], 3) for side, entry in last.items()},
                  calls={side: entry["calls"] for side, entry in last.items()}, **extra)


def memory_figure(memory, pages):
    kib = {side: entry["beside_kb"] for side, entry in memory.items()}
    return absolute("memory-beside-guest", round(kib["rayvm"] / 1024, 2), "MiB", 8, kib["rayvm"] <= 8192, peer=PEER,
                    peer_value=round(kib[PEER] / 1024, 2), by=memory["rayvm"]["by"], pages=pages)


def bench_disk(wanted, options):
    if "binary-size" in wanted:
        size = binary_size()
        yield absolute("binary-size", round(size / 2**20, 3), "MiB", 1.5, size <= 1.5 * 2**20, bytes=size)
    if not set(wanted) - {"binary-size"}:
        return
    extra = {"guest_kernel": options.guest_kernel, "accel": "kvm" if host.can_nest() else "tcg", "storage": "null_blk"}
    for step, results, failed in collect(steps(wanted, options), options):
        name, extra["failed"] = step["name"], failed
        if name == "memory":
            extra["pages"] = {side: f"{entry['huge_kb']} of {entry['ram_kb']} KiB in huge pages" for side, entry in results[0].items()}
            if "memory-beside-guest" in wanted:
                yield memory_figure(results[0], extra["pages"])
        elif name == "idle":
            yield from idle_figures(wanted, results)
        elif step["do"] == "count":
            yield count_figure(name, results, **extra)
        elif name.startswith("cpu-"):
            yield paired(name, "s", pairs_of(results, lambda entry: entry["cpu"]), 1.0, 3, requests=results[0]["rayvm"]["reads"],
                         threads=threads_of(results), **extra)
        elif name.startswith("fio-seq"):
            yield paired(name, "MiB/s", pairs_of(results, lambda entry: entry["kib_s"] / 1024), 1.0, 1, "higher", threads=threads_of(results), **extra)
        else:
            yield paired(name, "IOPS", pairs_of(results, lambda entry: entry["iops"]), 1.0, 0, "higher", threads=threads_of(results), **extra)


NAMES = (*(f"fio-{job}-{mode}" for mode in MODES for job in JOBS),
         *(f"{what}-{depth}-{mode}" for mode in MODES for what in ("syscalls", "cpu") for depth in ("qd1", "qd32")),
         "idle-wakeups", "idle-wakeups-outside", "memory-beside-guest", "binary-size")
