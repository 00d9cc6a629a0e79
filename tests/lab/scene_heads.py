# SPDX-License-Identifier: MIT
"""Heads that come, change and go (virtio-vga alone can do that)."""

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 1024, "heads": 2, "size": (1024, 768), "keyboard": "usb"}


def _status(machine, head):
    return machine.sh(f"cat /sys/class/drm/card0-Virtual-{head + 1}/status", check=True).stdout.strip()


def _modes(machine, head):
    return machine.sh(f"cat /sys/class/drm/card0-Virtual-{head + 1}/modes", check=True).stdout.split()


def test_size_option_sets_the_preferred_mode(machine):
    assert _modes(machine, 0)[0] == "1024x768", _modes(machine, 0)[:3]
    assert machine.screendump().size == (1024, 768)


def test_second_head_comes_and_goes(machine):
    assert _status(machine, 1) == "disconnected"
    machine.resize_head(1, 800, 600)
    machine.wait_for(lambda: _status(machine, 1) == "connected", 20, "the second head", interval=0.3)
    assert _modes(machine, 1)[0] == "800x600", _modes(machine, 1)[:3]
    machine.resize_head(1, 0, 0)
    machine.wait_for(lambda: _status(machine, 1) == "disconnected", 20, "the second head to go", interval=0.3)


def test_first_head_changes_size(machine):
    machine.resize_head(0, 1440, 900)

    def probed():
        # The kernel hears of it at once and reads the new modes when somebody asks.
        machine.sh("echo detect >/sys/class/drm/card0-Virtual-1/status", check=True)
        return _modes(machine, 0)[0] == "1440x900"

    machine.wait_for(probed, 20, "the new mode", interval=0.3)


def test_usb_keyboard_is_the_one_that_types(machine):
    names = machine.sh("cat /sys/class/input/event*/device/name", check=True).stdout
    assert "QEMU QEMU USB Keyboard" in names, names
