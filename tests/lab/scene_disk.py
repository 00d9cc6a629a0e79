# SPDX-License-Identifier: MIT
"""Disks of a stock guest: an image, a block device and memory; read-only, locked, missing, full, failing, growing, overlaid. No display is needed."""

import json
import re
import signal
import time

from lab import paths
from lab.rayvm import guest_files

DISPLAYS = ("none",)
ISOLATED_ALL = ("none",)    # there the whole process ends at a system call that its filter does not know, and error paths have calls of their own
MACHINE = {"memory": 2048}
IMAGE = "/dev/shm/disk.img"
SIZE = 64 << 20


def start(machine, name, *disks, append=""):
    """rayvm with DISKS and nothing else; its log holds what the guest says, too."""
    files = guest_files("make-tiny")
    arguments = [paths.built("src/rayvm"), "--display", "none", "--shutdown-timeout", "0", "--control", f"/run/{name}.sock", "-m", "256M", "-s", "1",
                 "-k", files.get("vmlinux", files["vmlinuz"]), "-i", files["initrd"],
                 "-a", f"console=ttyS0 quiet loglevel=3 cryptomgr.notests {append}"]
    for disk in disks:
        arguments += ["-d", disk]
    return machine.spawn(arguments + isolate(machine), log=f"{name}.log")


def isolate(machine):
    return ["--isolate"] if machine.isolated else []


def stop(job, timeout=20):
    """Ask rayvm to end, which it does by itself and well, having made no system call that its filters refuse."""
    job.signal(signal.SIGTERM)
    status = job.wait(timeout)
    assert status == 0, f"status {status}\n{job.log_text()[-1500:]}"
    assert not re.search(r"the system call .* was refused", job.log_text()), job.log_text()


class FioGuest:
    """rayvm with the fio guest, which does what it is told: tests/guests/README.md."""

    def __init__(self, machine, name, *disks, append=""):
        files = guest_files("make-fio")
        self.machine, self.fifo, self.socket = machine, f"/run/{name}.in", f"/run/{name}.sock"
        argv = [paths.built("src/rayvm"), "--display", "none", "--shutdown-timeout", "0", "--serial", "stdio", "--control", self.socket,
                "-m", "256M", "-s", "1", "-k", files.get("vmlinux", files["vmlinuz"]), "-i", files["initrd"], "-a", f"console=ttyS0 quiet loglevel=3 cryptomgr.notests {append}"]
        for disk in disks:
            argv += ["-d", disk]
        argv += isolate(machine)
        machine.sh(f"rm -f {self.fifo}; mkfifo {self.fifo}", check=True)
        self.job = machine.spawn(["/bin/sh", "-c", f'exec "$@" 0<>{self.fifo}', "sh", *map(str, argv)], log=f"{name}.log")
        self.job.wait_log(r"FIO:READY", 120)

    def say(self, command):
        self.machine.sh(f"echo '{command}' >{self.fifo}", check=True)

    def fio(self, *words, timeout=60):
        """A job; (fio's exit status, its output)."""
        self.job.mark()
        at = len(self.job.log_text())
        self.say(" ".join(["fio", "--name=j", "--filename=/dev/vda", "--ioengine=io_uring", "--bs=4k", "--direct=1", "--minimal", *words]))
        status = int(self.job.wait_log(r"FIO:DONE status=(-?\d+)", timeout)[1])
        return status, self.job.log_text()[at:]

    def ctl(self, *words):
        return self.machine.run([str(paths.built("src/rayvmctl")), "-s", self.socket, *words], 40, check=True).stdout

    def stats(self):
        return json.loads(self.ctl("stats", "--json"))

    def failed_lines(self):
        return len(re.findall(r"the guest gets an I/O error", self.job.log_text()))


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

    stop(job)
    assert digest(machine, IMAGE) == before


def test_read_only(machine):
    """A write fails in the guest and nothing changes."""
    before = digest(machine, IMAGE)
    job = start(machine, "readonly", f"{IMAGE},readonly", append="tiny.disktest=1")
    job.wait_log(r"TINY:DISKTEST fail", 120)
    stop(job)
    assert digest(machine, IMAGE) == before


def test_overlay(machine):
    """Two guests write the same image at the same time, and it stays what it was."""
    before = digest(machine, IMAGE)
    jobs = [start(machine, f"overlay{number}", f"{IMAGE},overlay=mem", append="tiny.disktest=1") for number in range(2)]
    for job in jobs:
        job.wait_log(r"TINY:DISKTEST ok", 120)
    refused = start(machine, "writer", IMAGE)
    assert refused.wait(30) == 2, refused.log_text()
    for job in jobs:
        stop(job)
    assert digest(machine, IMAGE) == before


def test_without_io_uring(machine):
    """Where the kernel forbids it, threads do the work, and one line says so."""
    machine.sh("echo 2 >/proc/sys/kernel/io_uring_disabled", check=True)
    try:
        job = start(machine, "threads", IMAGE, append="tiny.disktest=1")
        job.wait_log(r"threads, because io_uring is not to be had", 30)
        job.wait_log(r"TINY:DISKTEST ok", 120)
        stop(job)
        refused = start(machine, "insisting", f"{IMAGE},aio=io_uring")
        assert refused.wait(30) == 2, refused.log_text()
        assert re.search("no io_uring.*aio=", refused.log_text()), refused.log_text()
    finally:
        machine.sh("echo 0 >/proc/sys/kernel/io_uring_disabled", check=True)


def test_full_file_system(machine):
    """B7: the guest gets errors and goes on; one line tells of it; with room again it works."""
    machine.sh("mkdir -p /run/small && mount -t tmpfs -o size=2m none /run/small && truncate -s 64M /run/small/disk.img", check=True)
    guest = FioGuest(machine, "full", "/run/small/disk.img")
    status, text = guest.fio("--rw=write", "--size=1m")
    assert status == 0, text
    status, text = guest.fio("--rw=write", "--offset=8m", "--size=8m", "--continue_on_error=write")
    assert "No space left on device; the guest gets an I/O error" in guest.job.log_text(), guest.job.log_text()
    assert guest.stats()["disk_errors"] > 100, guest.stats()
    # Two, should the file system have found a page in between.
    assert 1 <= guest.failed_lines() <= 2, guest.job.log_text()
    status, text = guest.fio("--rw=read", "--size=1m")
    assert status == 0, text
    machine.sh("mount -o remount,size=64m /run/small", check=True)
    status, text = guest.fio("--rw=write", "--offset=20m", "--size=4m")
    assert status == 0, text
    stop(guest.job)
    machine.sh("umount /run/small", check=True)


def test_truncated_file(machine):
    """B7: what is gone is an error, the file does not grow again, the rest works."""
    machine.sh("head -c 16M /dev/urandom >/dev/shm/cut.img", check=True)
    guest = FioGuest(machine, "cut", "/dev/shm/cut.img")
    assert guest.fio("--rw=read", "--size=16m")[0] == 0
    machine.sh("truncate -s 4M /dev/shm/cut.img", check=True)
    assert guest.fio("--rw=read", "--offset=8m", "--size=1m")[0] != 0
    assert guest.fio("--rw=write", "--offset=8m", "--size=1m")[0] != 0
    assert guest.fio("--rw=write", "--size=2m")[0] == 0
    assert machine.sh("stat -c %s /dev/shm/cut.img", check=True).stdout.strip() == str(4 << 20)
    # One for reads, one for writes.
    assert 1 <= guest.failed_lines() <= 2, guest.job.log_text()
    stop(guest.job)


def test_vanishing_device(machine):
    """B7: a block device is taken away under load: errors, a few lines, and the program goes on and ends well."""
    machine.sh("modprobe null_blk nr_devices=0 && (mount -t configfs none /sys/kernel/config || true) 2>/dev/null && cd /sys/kernel/config/nullb && mkdir -p gone && "
               "cd gone && echo 1 >memory_backed && echo 64 >size && echo 1 >power && udevadm settle; test -b /dev/gone", check=True)
    guest = FioGuest(machine, "gone", "/dev/gone,cache=direct")
    assert guest.fio("--rw=write", "--size=1m")[0] == 0
    guest.job.mark()
    guest.say("fio --name=j --filename=/dev/vda --ioengine=io_uring --iodepth=16 --bs=4k --direct=1 --minimal --rw=randrw --size=32m --time_based --runtime=15")
    machine.wait_for(lambda: guest.stats()["disk_requests"] > 2000, 30, "the load")
    machine.sh("echo 0 >/sys/kernel/config/nullb/gone/power", check=True)
    assert int(guest.job.wait_log(r"FIO:DONE status=(-?\d+)", 60)[1]) != 0
    # Reads, writes and flushes, of which each may first fail as it is taken away and then because it is gone.
    assert 1 <= guest.failed_lines() <= 6, guest.job.log_text()
    guest.say("ping")
    guest.job.wait_log(r"FIO:PONG", 20)
    stop(guest.job, 40)
    machine.sh("rmdir /sys/kernel/config/nullb/gone", check=True)


def test_growing_file_and_pause(machine):
    """The guest hears of it and uses the new part. A pause under load loses nothing."""
    machine.sh("truncate -s 16M /dev/shm/grow.img", check=True)
    guest = FioGuest(machine, "grow", "/dev/shm/grow.img", append="loglevel=6")
    machine.sh("truncate -s 32M /dev/shm/grow.img", check=True)
    guest.ctl("vm", "resize-disk", "1")
    for line in (r"disk /dev/shm/grow.img: now 33554432 bytes", r"\[vda\] new size: 65536 512-byte"):     # of rayvm and of the guest, in any order
        guest.job.wait_log(line, 20, again=True)
    assert guest.fio("--rw=write", "--offset=20m", "--size=1m")[0] == 0
    written = machine.sh("dd if=/dev/shm/grow.img bs=1M skip=20 count=1 status=none | tr -d '\\0' | wc -c", check=True).stdout
    assert int(written) > 500000, written
    failed = machine.run([str(paths.built("src/rayvmctl")), "-s", guest.socket, "vm", "resize-disk", "2"], 40)
    assert failed.status != 0 and "no such disk" in failed.stderr, failed

    guest.job.mark()
    before = guest.stats()["disk_requests"]
    guest.say("fio --name=j --filename=/dev/vda --ioengine=io_uring --iodepth=16 --bs=4k --direct=1 --minimal --rw=randrw --size=32m --time_based --runtime=8")
    machine.wait_for(lambda: guest.stats()["disk_requests"] > before + 500, 30, "the load")
    guest.ctl("vm", "pause")
    time.sleep(0.5)         # what the disk had at hand it finishes
    stood = guest.stats()["disk_requests"]
    time.sleep(1)
    assert guest.stats()["disk_requests"] == stood, "requests of a guest that stands still"
    guest.ctl("vm", "resume")
    assert guest.job.wait_log(r"FIO:DONE status=(-?\d+)", 60)[1] == "0", guest.job.log_text()[-1000:]
    assert guest.stats()["disk_requests"] > stood and guest.stats()["disk_errors"] == 0, guest.stats()
    stop(guest.job)


def test_kill_keeps_what_was_flushed(machine):
    """B9: kill -9 under load; nothing that a flush covered is missing."""
    machine.sh("truncate -s 64M /dev/shm/kill.img", check=True)
    guest = FioGuest(machine, "kill", "/dev/shm/kill.img")
    guest.say("record /dev/vda 4096 16")
    for _ in range(20):
        guest.job.wait_log(r"FIO:FLUSHED \d+", 60)
    guest.job.signal(signal.SIGKILL)
    guest.job.wait(20)
    # With --isolate the machine's own process sees the end of the other, and gives the disk back.
    machine.wait_for(lambda: not machine.sh("pgrep -x rayvm-machine").stdout, 20, "the end of the machine's process")
    flushed = int(re.findall(r"FIO:FLUSHED (\d+)\b", guest.job.log_text())[-1])
    guest = FioGuest(machine, "kill2", "/dev/shm/kill.img,readonly")
    guest.say("verify /dev/vda")
    found = guest.job.wait_log(r"FIO:RECORD newest=(\d+) broken=(\d+)", 60)
    assert int(found[1]) >= flushed and int(found[2]) == 0, (flushed, found[0])
    stop(guest.job)


def test_errors_name_thing_and_remedy(machine):
    machine.sh(": >/dev/shm/empty.img", check=True)
    for disk, words in (("/dev/shm/nothing.img", "nothing.img.*truncate"), ("/dev/shm/empty.img", "empty.img.*sector"),
                        ("/dev/shm", "neither a file nor a block device"), ("mem:1Q", "mem:512M"), (f"{IMAGE},format=qcow2", "qemu-img convert")):
        job = start(machine, "refused", disk)
        assert job.wait(30) == 2, (disk, job.log_text())
        assert re.search(words, job.log_text()), (disk, job.log_text())
