# SPDX-License-Identifier: MIT
"""B9, the power goes: the lab's QEMU is killed while guests write, and what lay in the lab machine's page cache is gone with it.

The guests' disks are block devices of the lab machine, so whatever a guest was told is flushed must be in the files behind
them. The files are read from here, and by guests after the next boot. Beside it rayvm alone is killed. No display is needed.
"""

import re
import signal
import struct
import time

from lab import paths
from lab.machine import Machine
from lab.rayvm import guest_files

DISPLAYS = (None,)      # the machines are this scene's own
FOLDER = paths.OUT / "lab" / "powercut"
BLOCK, STEP = 4096, 40503   # as in tests/guests/fio/record.c
STAMP = struct.Struct("<8sQQQ")
BLOCKS, EVERY, REGIONS = 1024, 16, 16
# Name of the guest, program, options of its disk, command. Drives of the lab machine in this order.
RECORD = f"record:/dev/vda:{BLOCKS}:{EVERY}"
GUESTS = (
    ("writeback", "src/rayvm", ",cache=writeback", RECORD),
    ("writethrough", "src/rayvm", ",cache=writethrough", RECORD),
    ("direct", "src/rayvm", ",cache=direct", RECORD),
    ("threads", "src/rayvm", ",cache=writeback,aio=threads", RECORD),
    ("fio", "src/rayvm", ",cache=writeback", f"regions:/dev/vda:{REGIONS}"),
    ("noflush", "tests/tools/rayvm-noflush", ",cache=writeback", RECORD),
)


def image(name):
    return FOLDER / f"{name}.img"


def make_images():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, *_ in GUESTS:
        with open(image(name), "wb") as file:
            file.truncate(REGIONS << 20)


def machine():
    """A lab machine with the guests' disks as they are now: /dev/vda is the first one's."""
    return Machine(results=FOLDER, display="none", memory=2560, drives=[{"path": str(image(name)), "snapshot": False} for name, *_ in GUESTS])


def start(lab, number, command, log, readonly=False):
    name, program, disk_options, _ = GUESTS[number]
    files = guest_files("make-fio", "--kernel", "debian-6.12")
    return lab.spawn([paths.built(program), "--display", "none", "--control", f"/run/{log}.sock", "-m", "192M", "-s", "1",
                      "-k", files["vmlinuz"], "-i", files["initrd"], "-a", f"console=ttyS0 quiet loglevel=3 pci=noearly fio.do={command}",
                      "-d", f"/dev/vd{chr(ord('a') + number)}{',readonly' if readonly else ''}{disk_options}"], log=f"{log}.log")


def flushed(text):
    """The newest number that a guest was told is flushed; 0: none."""
    numbers = re.findall(r"^FIO:FLUSHED (\d+)\r?$", text, re.MULTILINE)
    return int(numbers[-1]) if numbers else 0


def missing(path, number):
    """[(place, number wanted, oldest found)]: where in the file PATH something older than block NUMBER, or of nobody, lies.

    A block that was being overwritten when the power went may be partly old and partly new, but no part older than the flush.
    """
    newest = {candidate * STEP % BLOCKS: candidate for candidate in range(max(1, number - BLOCKS + 1), number + 1)}
    lost = []
    with open(path, "rb") as file:
        for place, wanted in newest.items():
            file.seek(place * BLOCK)
            stamps = set(STAMP.iter_unpack(file.read(BLOCK)))
            found = min(stamp[1] if stamp[0] == b"RAYVMREC" and stamp[2:] == (place, BLOCKS) else 0 for stamp in stamps)
            if found < wanted:
                lost.append((place, wanted, found))
    return lost


def test_cut():
    """All guests write in one lab machine; it is killed; what each had flushed is there. Without flushes much is not."""
    make_images()
    with machine() as lab:
        # The lab machine's kernel writes nothing out by itself: what is not flushed is lost for certain.
        lab.sh("echo 0 >/proc/sys/vm/dirty_writeback_centisecs", check=True)
        jobs = [start(lab, number, guest[3], guest[0]) for number, guest in enumerate(GUESTS)]
        for (name, *_), job in zip(GUESTS, jobs):
            job.wait_log(r"^FIO:REGION 2\b" if name == "fio" else rf"^FIO:FLUSHED {40 * EVERY}\b", 200)
        time.sleep(1)
        lab.power_cut()
    for name, _, _, command in GUESTS:
        if command != RECORD:
            continue
        text = (FOLDER / f"{name}.log").read_text(errors="replace")
        number = flushed(text)
        lost = missing(image(name), number)
        print(f"         {name}: flushed up to {number}, {len(lost)} blocks lost", flush=True)
        assert number >= 40 * EVERY and "ERROR" not in text, text[-500:]
        if name == "noflush":
            assert lost, "nothing is missing although nothing was flushed: this test would not see a missing flush"
        else:
            assert not lost, f"{name}: of {number} blocks flushed these are lost (place, wanted, found): {lost[:8]}"


def test_next_boot():
    """The guests come up again in a new lab machine, and find what the old ones had flushed."""
    with machine() as lab:
        text = (FOLDER / "fio.log").read_text(errors="replace")
        done = 1 + int(re.findall(r"^FIO:REGION (\d+)", text, re.MULTILINE)[-1])
        number = [name for name, *_ in GUESTS].index("fio")
        again = start(lab, number, f"check-regions:/dev/vda:{done}", "fio-again", readonly=True)
        record = start(lab, 0, "verify:/dev/vda", "writeback-again", readonly=True)
        match = record.wait_log(r"^FIO:RECORD newest=(\d+) broken=(\d+) empty=(\d+)", 200)
        wanted = flushed((FOLDER / "writeback.log").read_text(errors="replace"))
        assert int(match[1]) >= wanted and int(match[2]) == 0, (match[0], wanted)
        match = again.wait_log(r"^FIO:REGIONS good=(\d+) of=(\d+)", 200)
        print(f"         fio verified {match[1]} of {match[2]} regions", flush=True)
        assert match[1] == match[2] == str(done), again.log_text()[-800:]


def test_kill():
    """rayvm dies by SIGKILL while its guest writes: what was flushed is there, and the disk can be opened again at once."""
    make_images()
    with machine() as lab:
        job = start(lab, 0, RECORD, "kill")
        job.wait_log(rf"^FIO:FLUSHED {20 * EVERY}\b", 200)
        job.signal(signal.SIGKILL)
        assert job.wait(20) == -signal.SIGKILL
        number = flushed(job.log_text())
        lab.run(["dd", "if=/dev/vda", "of=/lab/killed.img", "bs=1M", f"count={BLOCKS * BLOCK >> 20}"], check=True)
        lost = missing(FOLDER / "killed.img", number)
        assert number and not lost, (number, lost[:8])
        again = start(lab, 0, "verify:/dev/vda", "killed-again")
        match = again.wait_log(r"^FIO:RECORD newest=(\d+) broken=(\d+) empty=(\d+)", 200)
        assert int(match[1]) >= number and int(match[2]) == 0, (match[0], number)
