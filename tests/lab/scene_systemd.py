# SPDX-License-Identifier: MIT
"""L1 with systemd as its first process, where the shipped unit can be tried."""

DISPLAYS = ("bochs-display",)
SUITE = "all"       # as scene_unit.py
MACHINE = {"memory": 1024, "systemd": True}

UNIT = """[Service]
ExecStart=/bin/sh -c 'echo started; sleep 1000 & wait'
ExecStopPost=/bin/sh -c 'echo stopped >/run/labtest-stopped'
StandardOutput=file:/lab/unit.log
"""


def test_unit_starts_and_is_watched(machine):
    assert machine.read_file("/proc/1/comm") == b"systemd\n"
    machine.put_file("/run/systemd/system/labtest.service", UNIT)
    machine.run(["systemctl", "start", "labtest"], check=True)
    machine.wait_for(lambda: (machine.results / "unit.log").exists(), 20, "the unit's output")
    machine.run(["systemctl", "kill", "-s", "KILL", "labtest"], check=True)
    machine.wait_for(lambda: machine.exists("/run/labtest-stopped"), 20, "ExecStopPost")
    assert machine.run(["systemctl", "is-failed", "labtest"]).stdout == "failed\n"
