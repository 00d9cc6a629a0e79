# SPDX-License-Identifier: MIT
"""
Weston in the guest with a client that fills the screen with another colour each frame, for a minute on a real card: no picture is ever made of two
frames, none comes back, and none that the guest made is left out but where the processor stands still.
"""

import time

from lab import desktop, paths
from lab.desktop import has_terminal
from lab.qemu import Drive
from lab.rayvm import Rayvm

SUITE = "all"       # one more boot of L1, a Debian's start, and a minute
DISPLAYS = ("virtio-vga",)
SECONDS = 60
STEP = 0x9E3779     # see tests/tools/frameclient.c
BACK = pow(STEP, -1, 1 << 24)
state = {}


def machine(_display):
    files = state["files"] = desktop.files()
    # The client comes as a disk: the guest's image stays what it is.
    client = paths.OUT / "frameclient.img"
    client.parent.mkdir(parents=True, exist_ok=True)
    data = paths.built("tests/tools/frameclient").read_bytes()
    client.write_bytes(data.ljust(-(-len(data) // 4096) * 4096, b"\0"))
    return {"memory": desktop.LAB_MEMORY, "drives": [Drive(files["disk.img"]), Drive(str(client), readonly=True)]}


def setup(lab):
    state["rayvm"] = Rayvm(lab, [*desktop.arguments(state["files"]), "-d", "/dev/vdb,readonly"])


def frame_of(picture):
    """The number of the frame that is all of this picture; None when it is more than one colour."""
    if not picture.is_uniform():
        return None
    red, green, blue = picture.pixel(0, 0)
    return (red << 16 | green << 8 | blue) * BACK % (1 << 24)


def start_client(lab):
    rayvm = state["rayvm"]
    rayvm.marker("VIRTIO_GPU:FRAME_READY:1", 240)
    desktop.said(lab, r"^DESKTOP:READY", 300)
    rayvm.ctl("show", "guest")
    lab.wait_screen(has_terminal, 30, "the desktop with its terminal")
    rayvm.ctl("type", "--guest", f"cat /dev/vdb >/run/f; chmod 755 /run/f; /run/f {SECONDS} /dev/ttyS0 2>/dev/ttyS0\n")
    desktop.said(lab, r"^FRAMES ready", 60)


def test_a_minute_of_frames(lab):
    rayvm = state["rayvm"]
    start_client(lab)
    lab.wait_screen(lambda picture: (frame_of(picture) or 1 << 24) < 10000, 20, "the client's first frame")
    before, seen, mixed = rayvm.stats(), [], []
    end = time.monotonic() + SECONDS - 15
    while time.monotonic() < end:
        picture = lab.screendump()
        number = frame_of(picture)
        if number is None or number >= 100000:
            mixed.append(len(seen))
            picture.save(lab.results / f"mixed-{len(mixed)}.png")
        else:
            seen.append(number)
    last = int(desktop.said(lab, r"^FRAMES last=(\d+)", 60)[1])
    time.sleep(1)
    after = rayvm.stats()
    flushed, presented, dropped = (after[name] - before[name] for name in ("frames_flushed", "frames_presented", "frames_dropped"))
    print(f"         {len(seen)} pictures of frames {seen[0]} to {seen[-1]} of {last}, {len(set(seen))} different, {len(mixed)} mixed; the guest flushed {flushed}, "
          f"{presented} were presented, {dropped} left out", flush=True)
    assert not mixed, f"pictures {mixed} of {len(seen)} are made of more than one frame (mixed-*.png)"
    assert seen == sorted(seen), "a frame came back"
    assert len(set(seen)) > 50 and last > 200, "the client hardly drew"
    # All that the guest flushed was on the panel (one or two are under way at either end), and that is at least what the client drew. Where a software CPU
    # stands still for more than the 40 ms that a fence is held, the guest may draw on, and the newer frame takes the place of one that was not shown yet.
    assert dropped <= flushed // 100 and abs(flushed - presented - dropped) <= 2, (flushed, presented, dropped)
    assert presented + dropped >= last - seen[0] - 2, (presented, dropped, seen[0], last)
