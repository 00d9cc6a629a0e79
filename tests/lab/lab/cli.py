# SPDX-License-Identifier: MIT
"""Options that the lab's commands share."""

import argparse

from . import kernel, qemu


def _size(text):
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdigit() or not height.isdigit() or not int(width) or not int(height):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT")
    return int(width), int(height)


def _drive(text):
    path, *words = text.split(",")
    drive = qemu.Drive(path)
    for word in words:
        key, _, value = word.partition("=")
        if key == "readonly":
            drive.readonly = True
        elif key == "write":
            drive.snapshot = False
        elif key in ("format", "serial") and value:
            setattr(drive, key, value)
        else:
            raise argparse.ArgumentTypeError(f"'{word}' in drive '{text}' (readonly, write, format=F, serial=S)")
    return drive


def add_machine_options(parser):
    """Options that describe L1."""
    group = parser.add_argument_group("the machine")
    group.add_argument("--display", default="virtio-vga", choices=(*qemu.DISPLAYS, "std", "none"),
                       help="display device (default virtio-vga)")
    group.add_argument("--heads", type=int, default=1, help="number of heads (virtio-vga, qxl)")
    group.add_argument("--size", type=_size, metavar="WxH", help="preferred mode (default 1280x800)")
    group.add_argument("--kernel", default=kernel.DEFAULT_KERNEL, metavar="NAME",
                       help=f"{', '.join(sorted(kernel.KERNELS))} or distribution (default {kernel.DEFAULT_KERNEL})")
    group.add_argument("--append", default="", metavar="WORDS", help="more kernel arguments")
    group.add_argument("--memory", type=int, default=4096, metavar="MIB", help="default 4096")
    group.add_argument("--cpus", type=int, default=2, help="default 2")
    group.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto",
                       help="auto takes KVM where a machine in it can have KVM too (default)")
    group.add_argument("--drive", type=_drive, action="append", default=[], metavar="FILE[,readonly|,write]"
                       "[,format=F][,serial=S]", help="a disk; writes are thrown away unless 'write' is said; repeatable")
    group.add_argument("--keyboard", choices=qemu.KEYBOARDS, default="virtio", help="default virtio")
    group.add_argument("--no-udev", action="store_true", help="do not start udevd (libinput then sees nothing)")
    group.add_argument("--systemd", action="store_true", help="systemd as first process (to try units)")
    group.add_argument("--qemu", action="append", default=[], metavar="ARG", help="an argument for QEMU; repeatable")
    group.add_argument("--results", metavar="FOLDER", help="host folder that is /lab inside, writable")


def machine_options(options):
    """Keyword arguments for Machine from the parsed options."""
    return {"display": options.display, "heads": options.heads, "size": options.size, "kernel": options.kernel,
            "append": options.append, "memory": options.memory, "cpus": options.cpus, "accel": options.accel,
            "drives": options.drive, "keyboard": options.keyboard, "udev": not options.no_udev,
            "systemd": options.systemd, "qemu": options.qemu, "results": options.results}
