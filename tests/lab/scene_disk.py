# SPDX-License-Identifier: MIT
"""Disks of a stock guest: an image, a block device and memory, read-only, locked, missing. No display is needed."""

import re

from lab import paths
from lab.rayvm import guest_files

DISPLAYS = ("none",)
MACHINE = {"memory": 2048}
IMAGE = "/dev/shm/disk.img"
SIZE = 64 << 20


def start(machine, name, *disks, append=""):
    """rayvm with DISKS and nothing else; its log holds what the guest says, too."""
    files = guest_files("make-tiny")
    arguments = [paths.built("src/rayvm"), "--display", "none", "--control", f"/run/{name}.sock", "-m", "256M", "-s", "1",
                 "-k", files.get("vmlinux", files["vmlinuz"]), "-i", files["initrd"],
                 "-a", f"console=ttyS0 quiet loglevel=3 cryptomgr.notests {append}"]
    for disk in disks:
        arguments += ["-d", disk]
    return machine.spawn(arguments, log=f"{name}.log")


def digest(machine, path):
    return machine.sh(f"md5sum <{path}", check=True).stdout.split()[0]


def setup(machine):
    machine.sh(f"head -c {SIZE} /dev/urandom >{IMAGE}", check=True)


def test_image_and_memory(machine):
    """The guest writes, flushes, rereads and restores; the host's file is as before, and locked meanwhile."""
    before = digest(machine, IMAGE)
    job = start(machine, "image", f"{IMAGE},serial=rayvm-test", "mem:16M", append="tiny.disktest=1")
    job.wait_log(r"VIRTIO_BLK:DISK_INIT_IMAGE", 30)
    job.wait_log(r"VIRTIO_BLK:DISK_INIT_MEMORY", 30)
    job.wait_log(rf"TINY:DISK vda {SIZE}\b", 120)
    job.wait_log(rf"TINY:DISK vdb {16 << 20}\b", 60)
    job.wait_log(r"TINY:DISKTEST ok", 60)

    second = start(machine, "second", IMAGE)
    assert second.wait(30) == 2, second.log_text()
    assert re.search(rf"{IMAGE}.*another program", second.log_text()), second.log_text()

    job.stop()
    assert digest(machine, IMAGE) == before


def test_read_only(machine):
    """A write fails in the guest and nothing changes."""
    before = digest(machine, IMAGE)
    job = start(machine, "readonly", f"{IMAGE},readonly", append="tiny.disktest=1")
    job.wait_log(r"TINY:DISKTEST fail", 120)
    job.stop()
    assert digest(machine, IMAGE) == before


def test_errors_name_thing_and_remedy(machine):
    machine.sh(": >/dev/shm/empty.img", check=True)
    for disk, words in (("/dev/shm/nothing.img", "nothing.img.*truncate"), ("/dev/shm/empty.img", "empty.img.*sector"),
                        ("/dev/shm", "neither a file nor a block device"), ("mem:1Q", "mem:512M"), (f"{IMAGE},format=qcow2", "qemu-img convert")):
        job = start(machine, "refused", disk)
        assert job.wait(30) == 2, (disk, job.log_text())
        assert re.search(words, job.log_text()), (disk, job.log_text())
