# SPDX-License-Identifier: MIT
"""
What a frame on the panel costs the host: rayvm on the card, against QEMU in a full-screen window of a kiosk compositor (cage), which is what is used
where there is no such thing as rayvm, and against a loop that copies and flips and does nothing else. One guest, one lab machine, in turn.
"""

import json
import pathlib
import re
import shutil
import signal
import statistics

from lab import paths
from lab.errors import LabError
from lab.machine import Machine
from lab.rayvm import Rayvm, guest_files, tiny

from . import peer
from .figures import keep, load, paired, say

SIZE = (1920, 1080)
FPS = 10            # what a software CPU can do on both sides
SECONDS = 12
TRACED = 3          # seconds more in which system calls are counted
HOSTCPU = pathlib.Path(__file__).resolve().parent.parent / "hostcpu"
GUEST = f"console=ttyS0 quiet loglevel=3 cryptomgr.notests tiny.flip=1 tiny.fps={FPS}"
LOG = "bench-guest.log"
# The kernel's search for pages to make huge ones of falls into some of the runs, and into none of their frames.
QUIET = "for f in scan alloc; do echo 3600000 >/sys/kernel/mm/transparent_hugepage/khugepaged/${f}_sleep_millisecs; done"
NOBODY = "65534"    # cage does not run as root
FOLDER = "/run/window"
# No GL on either side: cage composes with pixman, GTK draws with cairo.
WINDOW = {"LIBSEAT_BACKEND": "seatd", "WLR_BACKENDS": "drm,libinput", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman", "GDK_BACKEND": "wayland",
          "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1", "HOME": FOLDER, "XDG_RUNTIME_DIR": FOLDER}
NAMES = ("cpu-per-frame", "cpu-per-frame-bare", "cpu-per-frame-panel")
MACHINE = re.compile(r"rayvm/(vcpu\d+|vm-io|machine|console|block)")    # what runs the guest: the bare loop has none
PEER, BARE = "qemu-gtk-cage", "copy-and-flip"


def lines(files, options):
    window = ["/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/cage", "-d", "--",
              *peer.qemu(files, GUEST, "-device", "virtio-gpu-pci,xres=%d,yres=%d" % SIZE)]
    window[window.index("-display") + 1] = "gtk,gl=off,full-screen=on"
    window[window.index("-serial") + 1] = f"file:{FOLDER}/{LOG}"
    ours = ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", f"{peer.MEMORY_MIB}M", "-s", str(peer.CPUS), "-a", GUEST, "--serial", f"file:{FOLDER}/{LOG}"]
    return peer.show({"rayvm": ours, PEER: window, BARE: [str(paths.built("tests/tools/bareflip")), str(FPS), str(SECONDS + TRACED + 20)]}, options)


def setup(machine, files, seat):
    """Files that an ordinary user can read, and with SEAT a seatd, for cage. Returns the files' places."""
    machine.sh(f"mkdir -p {FOLDER}; cp {files['vmlinuz']} {files['initrd']} {FOLDER}; chown -R {NOBODY} {FOLDER}; chmod 700 {FOLDER}; chmod 666 /dev/kvm; {QUIET}", check=True)
    if seat:
        machine.spawn(["/usr/sbin/seatd", "-u", "nobody"], log="seatd.log")
        machine.wait_for(lambda: machine.exists("/run/seatd.sock"), 20, "seatd")
    return {name: f"{FOLDER}/{pathlib.PurePath(files[name]).name}" for name in ("vmlinuz", "initrd")}


def said(machine):
    return machine.read_file(f"{FOLDER}/{LOG}").decode(errors="replace") if machine.exists(f"{FOLDER}/{LOG}") else ""


def count(machine):
    """What hostcpu found, with the frames that the guest made a second meanwhile."""
    at = len(said(machine))
    used = json.loads(machine.run(["/usr/bin/python3", str(HOSTCPU), str(SECONDS), str(TRACED)], SECONDS + TRACED + 60, check=True).stdout)
    counts = [int(n) for n in re.findall(r"^TINY:COUNT (\d+)\s*$", said(machine)[at:], re.MULTILINE)]
    used["guest_fps"] = (counts[-1] - counts[0]) / (len(counts) - 1) if len(counts) > 1 else 0.0
    return used


def seen(machine):
    machine.wait_for(lambda: "TINY:READY" in said(machine), 150, "the guest", lambda: said(machine)[-500:], interval=0.5)
    machine.wait_screen(tiny, 30, "the guest's picture", 0.5)


def measure_rayvm(machine, words):
    with Rayvm(machine, words, log="window-rayvm.log") as rayvm:
        rayvm.ready(120)
        rayvm.ctl("show", "guest")
        seen(machine)
        before = rayvm.stats()
        used = count(machine)
        after = rayvm.stats()
        used["frames_presented"] = after["frames_presented"] - before["frames_presented"]
        rayvm.quit()
    return used


def measure_window(machine, words):
    job = machine.spawn(words, log="window-cage.log", tty="/dev/tty1", env=WINDOW)
    try:
        seen(machine)
        return count(machine)
    except LabError as error:
        raise LabError(f"{error}\ncage and QEMU said:\n{job.log_text()[-1500:]}") from error
    finally:
        if machine.alive and job.status is None:
            job.signal(signal.SIGTERM, group=True)
            job.stop()


def measure_bare(machine, words):
    job = machine.spawn(words, log="window-bare.log")
    machine.run(["/usr/bin/sleep", "3"])
    used = count(machine)
    used["guest_fps"] = FPS
    if job.wait(60) != 0:
        raise LabError(f"the bare loop: {job.log_text()[-500:]}")
    return used


SIDES = {"rayvm": measure_rayvm, PEER: measure_window, BARE: measure_bare}


def per_frame(used, without=None):
    """Milliseconds of the host's CPU time for a frame that the panel was given; never more of them than the guest made. WITHOUT: threads to leave out."""
    frames = min(used["flips"], used["guest_fps"] * used["seconds"] + 1)
    if frames < used["seconds"]:
        raise LabError(f"less than a frame a second came to the panel: {used}")
    left_out = sum(ns for name, ns in used["threads"].items() if without and without.fullmatch(name))
    return (used["host_ns"] - left_out) / frames / 1e6


def explain(side, used):
    """For a person: each thread's part of a frame."""
    frames, traced = used["flips"], max(used["calls_flips"], 1)
    for name, ns in list(used["threads"].items())[:8]:
        parts, calls = used["parts"][name], used["calls"].get(name, {})
        say(f"    {side:13} {name:28} {ns / frames / 1e6:5.2f} ms, user {parts['user_ns'] / frames / 1e6:.2f}, system {parts['system_ns'] / frames / 1e6:.2f}, "
            f"{parts['switches'] / frames:.1f} switches, {parts['faults'] / frames:.1f} faults, {sum(calls.values()) / traced:.1f} calls: "
            + ", ".join(f"{call} {count / traced:.1f}" for call, count in sorted(calls.items(), key=lambda item: -item[1])[:6]))


def tell(results, side):
    """For a person: what was shown a second, and who used the time."""
    last = results[-1][side]
    return {"fps": round(statistics.median(r[side]["flips"] / r[side]["seconds"] for r in results), 1),
            "ms": {name: round(ns / last["flips"] / 1e6, 2) for name, ns in list(last["threads"].items())[:8]}}


def figure(name, other, bound, results, without=None):
    pairs = [tuple(per_frame(result[side], without) for side in ("rayvm", other)) for result in results]
    return paired(name, "ms", pairs, bound, 2, peer=other, size="%dx%d" % SIZE, sides={side: tell(results, side) for side in ("rayvm", other)})


def bench_window(wanted, options):
    missing = NAMES[0] in wanted and [name for name in ("cage", "seatd", "Xwayland") if shutil.which(name, path="/usr/bin:/usr/sbin") is None]
    if missing:
        wanted = [name for name in wanted if name != NAMES[0]]
    if wanted:
        yield from measure(wanted, options)
    if missing:
        raise LabError(f"{', '.join(missing)} is missing: apt-get install --no-install-recommends cage seatd xwayland qemu-system-gui")


def measure(wanted, options):
    sides = ["rayvm"] + [side for side, names in ((PEER, NAMES[:1]), (BARE, NAMES[1:])) if set(names) & set(wanted)]
    results, files = [], guest_files("make-tiny", "--kernel", options.guest_kernel)
    with Machine(display="virtio-vga", size=SIZE, memory=3072) as machine:
        say(f"cpu-per-frame: the lab machine came up in {machine.boot_seconds:.0f} s, load {load()}")
        words = lines(setup(machine, files, PEER in sides), options)
        for number in range(options.pairs):
            result = {}
            for side in sides if number % 2 == 0 else reversed(sides):
                machine.sh(f"rm -f {FOLDER}/{LOG}")
                result[side] = SIDES[side](machine, words[side])
                say(f"  {number + 1}: {side} {per_frame(result[side]):.1f} ms a frame, {result[side]['flips']} flips in {result[side]['seconds']:.1f} s, load {load()}")
            results.append(result)
        for side in sides:
            explain(side, results[-1][side])
    keep("window.json", results)
    for name, other, bound, without in ((NAMES[0], PEER, 0.5, None), (NAMES[1], BARE, 1.3, None), (NAMES[2], BARE, 1.3, MACHINE)):
        if name in wanted:
            yield figure(name, other, bound, results, without)
