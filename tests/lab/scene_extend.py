# SPDX-License-Identifier: MIT
"""--outputs extend with a stock guest: its card has a connector for each monitor, which comes and goes with it, and shows the guest's text console on both."""

import json
import re
import shlex

from lab import paths
from lab.picture import Picture
from lab.rayvm import SOCKET, Rayvm, guest_files, is_ui

DISPLAYS = ("virtio-vga",)
ISOLATED = ("virtio-vga",)
SUITE = "all"
MACHINE = {"memory": 2048, "heads": 2, "size": (1024, 768)}
state = {}


def setup(machine):
    files = guest_files("make-devices")
    state["rayvm"] = Rayvm(machine, ["--outputs", "extend", "--serial", "none", "--shutdown-timeout", "0", "-m", "256M", "-s", "1",
                                     "-k", files["vmlinuz"].replace("vmlinuz", "vmlinux"), "-i", files["initrd"], "-a", "console=hvc0 cryptomgr.notests"])
    state["rayvm"].ready()
    talk(machine, "", r"login:", 120)
    talk(machine, "root\n", r"/root # ", 60)
    shell(machine, "echo 0 >/sys/class/graphics/fbcon/cursor_blink")


def talk(machine, text, until, timeout=60):
    """Types TEXT on hvc0 and stays until the pattern UNTIL was seen."""
    state["talks"] = state.get("talks", 0) + 1
    ears = f"/run/said-{state['talks']}"
    job = machine.spawn(["/bin/sh", "-c", f"(printf %s {shlex.quote(text)}; exec sleep 600) | "
                         f"{paths.built('src/rayvmctl')} -s {SOCKET} console hvc0 >{ears}"], log="talk.log")

    def said():
        return machine.sh(f"cat {ears} 2>/dev/null; true").stdout.replace("\r", "")

    try:
        machine.wait_for(lambda: re.search(until, said()), timeout, f"/{until}/ on hvc0", lambda: said()[-1500:], interval=0.3)
        return said()
    finally:
        job.signal(15, group=True)
        job.wait(20)


def shell(machine, command):
    """Runs a command in the guest; what it printed."""
    state["number"] = number = state.get("number", 0) + 1
    heard = talk(machine, f"echo B''EGIN{number}; {command}; echo E''ND{number} $?\n", rf"END{number} \d+")
    output = re.search(rf"BEGIN{number}\n(.*?)END{number} (\d+)", heard, re.DOTALL)
    assert output and output[2] == "0", f"{command}: {heard[-1500:]}"
    return output[1]


def connectors(machine):
    return shell(machine, "cat /sys/class/drm/card0-Virtual-[1-4]/status").split()


def wait_connectors(machine, *connected):
    wanted = ["connected" if number in connected else "disconnected" for number in (1, 2, 3, 4)]
    machine.wait_for(lambda: connectors(machine) == wanted, 30, f"the guest's connectors {connected}", lambda: str(connectors(machine)), interval=0.5)


def fill(machine, grey):
    """One value in every byte of the guest's framebuffer, which is on all of its screens. What is beyond its end is no matter."""
    shell(machine, f"tr '\\000' '\\{grey:o}' </dev/zero 2>/dev/null | dd of=/dev/fb0 bs=65536 count=48 iflag=fullblock 2>/dev/null; true")


def is_grey(grey, size):
    def accept(picture):
        return picture.size == size and all(picture.pixel(x, y) == (grey, grey, grey) for x in (0, size[0] // 2, size[0] - 1) for y in (0, size[1] // 2, size[1] - 1))
    return accept


def second(machine, accept, what):
    machine.wait_screen(accept, 20, f"{what} on the second head", interval=0.2, head=1)


def test_a_monitor_is_a_connector(machine):
    wait_connectors(machine, 1)
    machine.resize_head(1, 800, 600)
    wait_connectors(machine, 1, 2)
    # Nobody in the guest asked: the driver heard of it.
    assert shell(machine, "head -1 /sys/class/drm/card0-Virtual-2/modes").strip() == "800x600"
    # A serial number each, at bytes 12 to 15.
    edids = [shell(machine, f"hexdump -v -e '1/1 \"%02x\"' /sys/class/drm/card0-Virtual-{number}/edid") for number in (1, 2)]
    assert all(edid.startswith("00ffffffffffff00") for edid in edids) and edids[0][24:32] != edids[1][24:32], edids


def test_the_guest_is_on_both_and_the_ui_on_one(machine):
    rayvm = state["rayvm"]
    machine.wait_screen(is_ui, 20, "the UI")
    second(machine, Picture.is_black, "nothing")
    machine.press("KEY_F11")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
    for grey in (0x55, 0xAA):
        fill(machine, grey)
        machine.wait_screen(is_grey(grey, (1024, 768)), 20, f"grey {grey}")
        second(machine, is_grey(grey, (800, 600)), f"grey {grey}")
    machine.screendump(head=0).save(machine.results / "first.png")
    machine.screendump(head=1).save(machine.results / "second.png")
    sizes = [(size["width"], size["height"]) for size in rayvm.status()["scanouts"]]
    assert sizes == [(1024, 768), (800, 600), (0, 0), (0, 0)], rayvm.status()
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 20, "the UI")
    second(machine, Picture.is_black, "nothing")
    fill(machine, 0x33)         # drawn while it is hidden
    machine.press("KEY_F11")
    machine.wait_screen(is_grey(0x33, (1024, 768)), 20, "what was drawn meanwhile")
    second(machine, is_grey(0x33, (800, 600)), "what was drawn meanwhile")


def test_it_goes_and_comes_back_in_another_mode(machine):
    machine.resize_head(1, 0, 0)
    wait_connectors(machine, 1)
    machine.wait_screen(is_grey(0x33, (1024, 768)), 20, "the first one as it was")
    machine.resize_head(1, 640, 480)
    wait_connectors(machine, 1, 2)
    fill(machine, 0x77)
    second(machine, is_grey(0x77, (640, 480)), "the new mode")
    machine.wait_screen(is_grey(0x77, (1024, 768)), 20, "the same")
    errors = shell(machine, "dmesg | grep -iE 'drm|virtio_gpu' | grep -iE 'error|fail' || true").strip()
    assert errors == "", errors
    (machine.results / "status.json").write_text(json.dumps(state["rayvm"].status(), indent=1))
    assert state["rayvm"].quit() == 0, state["rayvm"].job.log_text()[-2000:]
