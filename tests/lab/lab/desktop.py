# SPDX-License-Identifier: MIT
"""The Debian desktop guest under rayvm in L1: how it is started, how its picture is told, what it says."""

import re

from .rayvm import guest_files

BACKGROUND, PANEL = (0x20, 0x4a, 0x6a), (0x10, 0x18, 0x20)     # Weston's, see the guests' README.md
PANEL_HEIGHT = 32           # of Weston's desktop shell, in pixels
SERIAL = "guest-serial.log"
LAB_MEMORY = 2560           # MiB for L1: the guest's 1024, rayvm, and what L1 caches


def files():
    """What make-desktop makes (made when missing), by name."""
    return guest_files("make-desktop")


def arguments(made):
    """rayvm's options for it. L1 has the image as its first disk: it is too large to be opened through the shared root."""
    with open(made["cmdline"], encoding="ascii") as file:
        append = file.read().strip()
    # The kernel unpacked: a software CPU spends seconds on unpacking it.
    unpacked = made["vmlinuz"].replace("vmlinuz", "vmlinux")
    return ["-k", unpacked, "-i", made["initrd"], "-a", append, "-d", "/dev/vda", "-m", "1G", "-s", "2", "--serial", f"file:/lab/{SERIAL}"]


def serial(machine):
    """All that the guest has said on its serial port."""
    path = machine.results / SERIAL
    return path.read_text(errors="replace") if path.exists() else ""


def is_ready(machine):
    return "DESKTOP:READY" in serial(machine)


def said(machine, pattern, timeout, times=1, details=lambda: ""):
    """Wait until the guest has said PATTERN TIMES times; returns the last match."""
    search = re.compile(pattern, re.MULTILINE)
    found = []

    def look():
        found[:] = search.finditer(serial(machine))
        return len(found) >= times

    machine.wait_for(look, timeout, f"/{pattern}/ on the guest's serial port",
                     lambda: f"it said:\n{serial(machine)[-1500:]}\n{details()}", interval=0.3)
    return found[-1]


def _near(pixel, wanted):
    return all(abs(a - b) <= 4 for a, b in zip(pixel, wanted))


def is_weston(picture):
    """Weston's panel along the top and its background below, in the colours of the guest's settings."""
    return _near(picture.pixel(picture.width // 2, 3), PANEL) and _near(picture.pixel(4, -4), BACKGROUND)


def clock(picture):
    """The part of the panel where the clock is; it shows seconds."""
    return picture.crop(picture.width // 2, 0, picture.width // 2, PANEL_HEIGHT)


def below_panel(picture):
    return picture.crop(0, PANEL_HEIGHT, picture.width, picture.height - PANEL_HEIGHT)


def has_terminal(picture):
    """A good part of the desktop is neither background nor panel: the terminal's window."""
    return is_weston(picture) and below_panel(picture).fraction(BACKGROUND, 4) < 0.9


def is_placeholder(picture, ui):
    """What stands in for a guest without a picture: neither the UI (UI: a picture of it) nor Weston nor black."""
    return not is_weston(picture) and not picture.is_uniform() and picture.difference(ui) > picture.width * picture.height // 10
