# SPDX-License-Identifier: MIT
"""rayvm --probe-panel on real KMS drivers: the report is whole, the console comes back however it ends."""

import json
import signal
import time

from lab import paths
from lab.errors import Skip
from lab.rayvm import console_state, is_pattern

DISPLAYS = ("virtio-vga", "bochs-display")
SUITE = "all"       # two more boots of L1, with nothing beside them
ALONE = True
MACHINE = {"memory": 1536}
DRIVERS = {"virtio-vga": "virtio_gpu", "bochs-display": "bochs"}
DISPLAY, FAILED = 4, 1


def start(machine, name, *words):
    """On the first terminal, its report in the results folder as NAME.json and its progress in NAME.log."""
    program = str(paths.built("src/rayvm"))
    return machine.spawn(["/bin/sh", "-c", f'exec "$0" "$@" >/lab/{name}.json', program, "--json", *words], log=f"{name}.log", tty="/dev/tty1",
                         env={"LIBSEAT_BACKEND": "builtin"})


def report(machine, name, job, before):
    text = (machine.results / f"{name}.json").read_text()
    assert "was refused" not in job.log_text(), job.log_text()
    assert console_state(machine) == before, f"console {console_state(machine)}, before {before}"
    assert not machine.exists("/run/rayvm.sock")
    return json.loads(text)


def test_report(machine):
    before = console_state(machine)
    job = start(machine, "probe", "--probe-panel=8")
    job.wait_log("flips", 60)
    machine.wait_screen(is_pattern, 10, "the pattern")
    assert job.wait(60) == 0, job.log_text()
    found = report(machine, "probe", job, before)
    print(f"         {(machine.results / 'probe.json').read_text().strip()}", flush=True)
    card, output, flips, toggles, copy = (found[part] for part in ("card", "output", "flips", "toggles", "copy"))
    assert found["complete"] is True, found
    assert DRIVERS[machine.options.display] in card["driver"] and card["path"] == "/dev/dri/card0", card
    assert card["planes"]["primary"]["count"] >= 1 and "XR24" in card["planes"]["primary"]["formats"], card
    assert card["zero_copy"] is False and card["copies"], card
    assert (output["width"], output["height"]) == (1280, 800) and output["connector"].startswith("Virtual"), output
    assert flips["count"] > 20 and sum(flips["after_refreshes"]) == flips["count"] - 1 and flips["path"] == "copy", flips
    assert (flips["latch_misses"] is None) == (toggles["first_vblank"] is None) == (not output["vblank"]), found
    assert toggles["asked"] > 15 and toggles["flip_us"]["count"] > 10 and toggles["modesets"] == 0, toggles
    assert copy["error"] is None and copy["runs"] > 0 and copy["pitch"] >= 1280 * 4 and copy["rows_gb_s"]["median"] > 0, copy


def test_signals_end_it_early(machine):
    before = console_state(machine)
    for number in (signal.SIGINT, signal.SIGTERM):
        name = f"early{int(number)}"
        job = start(machine, name, "--probe-panel=300")
        job.wait_log("flips", 60)
        time.sleep(1)
        job.signal(number)
        assert job.wait(20) == 0, job.log_text()
        found = report(machine, name, job, before)
        assert found["complete"] is False and "early" in found["incomplete"] and found["flips"]["count"] > 0 and found["toggles"] is None, found


def test_report_can_be_read_on_the_console(machine):
    before = console_state(machine)
    job = machine.spawn(["/bin/sh", "-c", 'exec "$0" "$@" >/dev/tty1', str(paths.built("src/rayvm")), "--probe-panel=2"], log="table.log", tty="/dev/tty1",
                        env={"LIBSEAT_BACKEND": "builtin"})
    assert job.wait(60) == 0, job.log_text()
    assert console_state(machine) == before
    rows = machine.read_file("/dev/vcs1").decode(errors="replace")
    assert "] toggles" in rows and "] copy" in rows, rows


def test_no_monitor(machine):
    """What can be told of the card is told."""
    if machine.options.display != "virtio-vga":
        raise Skip("this display cannot be unplugged")
    before = console_state(machine)
    machine.resize_head(0, 1024, 768)   # QEMU ignores a first size that equals what it never was told: zero
    time.sleep(0.5)
    machine.resize_head(0, 0, 0)
    machine.wait_for(lambda: machine.sh("cat /sys/class/drm/card0-Virtual-1/status", check=True).stdout == "disconnected\n", 20,
                     "the head to be unplugged", interval=0.3)
    try:
        job = start(machine, "unplugged", "--probe-panel=5")
        assert job.wait(60) == DISPLAY, job.log_text()
        found = report(machine, "unplugged", job, before)
    finally:
        machine.resize_head(0, 1280, 800)
    assert found["card"]["driver"] == "virtio_gpu" and found["output"] is None and found["flips"] is None, found
    assert found["incomplete"] == "no monitor is connected" and "no monitor is connected" in job.log_text(), found


def test_another_terminal_ends_it(machine):
    """What would be measured then is nobody's panel."""
    before = console_state(machine)
    job = start(machine, "switched", "--probe-panel=300")
    job.wait_log("flips", 60)
    time.sleep(1)
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F2")
    assert job.wait(20) == FAILED, job.log_text()
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F1")
    machine.wait_for(lambda: machine.sh("cat /sys/class/tty/tty0/active", check=True).stdout.strip() == "tty1", 20, "the first terminal", interval=0.2)
    found = report(machine, "switched", job, before)
    assert found["incomplete"] == "another terminal was switched to" and "another terminal" in job.log_text(), found
    assert found["card"] and found["flips"]["count"] > 0 and found["toggles"] is None, found
