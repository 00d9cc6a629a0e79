# SPDX-License-Identifier: MIT
"""The command lines of both sides. README.md says why the peer's options are what they are; run --verbose prints them."""

import shlex

from lab import paths

from .figures import PEER, say

QEMU = "/usr/bin/qemu-system-x86_64"
# Of a microVM everything that a stock kernel does not need is off; PCI is on because Debian's kernel finds no virtio-mmio devices.
MICROVM = "microvm,acpi=on,pcie=on,rtc=on,pit=off,pic=off"
MEMORY_MIB = 256
CPUS = 1


def show(lines, options):
    """--verbose: the exact command lines, as a shell would take them."""
    if options.verbose:
        for name, argv in lines.items():
            say(f"  {name}: {shlex.join(map(str, argv))}")
    return lines


def rayvm(files, append, *more, display="none"):
    """Ours: kernel, initramfs and guest command line, a vCPU, 256 MiB, the serial port on standard output."""
    return [str(paths.built("src/rayvm")), "--control", "/run/bench.sock", "--display", display, "-k", files["vmlinuz"], "-i", files["initrd"],
            "-a", append, "-m", f"{MEMORY_MIB}M", "-s", str(CPUS), "--serial", "stdio", *more]


def qemu(files, append, *more, machine=MICROVM):
    """The peer's, the same."""
    return [QEMU, "-name", "bench,debug-threads=on", "-accel", "kvm", "-cpu", "host", "-M", machine, "-nodefaults", "-no-user-config",
            "-m", str(MEMORY_MIB), "-smp", str(CPUS), "-display", "none", "-serial", "stdio", "-kernel", files["vmlinuz"],
            "-initrd", files["initrd"], "-append", append, *more]


def desktop_lines(files, append, size, disk):
    """Both with what a desktop guest has: virtio gpu, keyboard, mouse, tablet, a 16 MiB disk in memory, all on PCI."""
    return {
        "rayvm": rayvm(files, append, "--mode", "%dx%d" % size, "-d", "mem:16M", display="headless"),
        PEER: qemu(files, append, "-device", "virtio-gpu-pci,xres=%d,yres=%d" % size, "-device", "virtio-keyboard-pci",
                   "-device", "virtio-mouse-pci", "-device", "virtio-tablet-pci",
                   "-drive", f"if=none,id=d,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=d"),
    }


def qemu_disk(name, path, cache, device=True):
    """A disk at its best: io_uring, an I/O thread of its own. DEVICE: PATH is a block device."""
    return ["-object", f"iothread,id=io-{name}",
            "-drive", f"if=none,id={name},format=raw,file={path},cache={cache},aio=io_uring" + (",file.driver=host_device" if device else ""),
            "-device", f"virtio-blk-pci,drive={name},iothread=io-{name}"]


def bare_lines(files, append, disk):
    """Both with a disk and nothing else: no display, no input."""
    return {
        "rayvm": rayvm(files, append, "-d", f"{disk['rayvm']},cache=direct"),
        PEER: qemu(files, append, *qemu_disk("d", disk[PEER], "none")),
    }
