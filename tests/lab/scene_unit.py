# SPDX-License-Identifier: MIT
"""What `meson install` leaves, without the source tree: the program, its manuals and the unit under systemd on the first terminal."""

import json
import shutil
import subprocess

from lab import paths
from lab.rayvm import console_state, is_pattern, is_ui

DISPLAYS = ("virtio-vga",)
SUITE = "all"       # one more boot of L1, tens of seconds slower with systemd
MACHINE = {"memory": 1536, "systemd": True}
SETTINGS = "[rayvm]\nfeatures = dev_scanout\nmarkers = /lab/unit.markers\n"
K_OFF = 4
state = {}


def installed(name):
    """Where a file of that name was installed, as seen inside."""
    found = sorted(path for path in state["tree"].rglob(name) if path.is_file() or path.is_symlink())
    assert len(found) == 1, f"{name}: {found}"
    return "/" + str(found[0].relative_to(state["tree"]))


def setup(machine):
    state["tree"] = tree = machine.results / "install"
    shutil.rmtree(tree, ignore_errors=True)
    (machine.results / "unit.markers").unlink(missing_ok=True)
    build = paths.built("src/rayvm").parent.parent
    subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", str(tree)], check=True, stdout=subprocess.DEVNULL)
    machine.sh("cp -a /lab/install/. /", check=True)
    # The source tree, and with it the build folder, is gone from here on.
    machine.sh(f"for d in '{paths.SOURCE}' '{build}'; do [ ! -d $d ] || mount -t tmpfs none $d; done", check=True)
    state["rayvm"], state["ctl"] = installed("rayvm"), installed("rayvmctl")
    settings = machine.sh(f"{state['rayvm']} --help | sed -n 's/.*settings file (default \\([^ ]*\\) .*/\\1/p'", check=True).stdout.strip()
    machine.put_file(settings, SETTINGS)
    # A unit below /usr/local is found where it is; other prefixes are linked.
    machine.sh(f"systemctl daemon-reload; systemctl cat rayvm >/dev/null 2>&1 || systemctl link {installed('rayvm.service')}", check=True)


def unit(machine, *names):
    """Properties of the unit."""
    shown = machine.run(["systemctl", "show", "rayvm", *(f"-p{name}" for name in names)], check=True).stdout
    values = dict(line.split("=", 1) for line in shown.splitlines())
    return [values[name] for name in names]


def journal(machine):
    return machine.sh("journalctl -u rayvm --no-pager -o cat | tail -30").stdout


def started(machine):
    """Wait until the unit's rayvm has the panel."""
    machine.wait_for(lambda: machine.run([state["ctl"], "status"]).status == 0, 60, "the control socket", lambda: journal(machine), interval=0.5)
    machine.wait_screen(is_ui, 60, "the UI", 0.3)
    assert console_state(machine) == (False, K_OFF), console_state(machine)


def test_nothing_needs_the_source_tree(machine):
    assert not machine.exists(str(paths.built("src/rayvm"))) and not machine.exists(str(paths.SOURCE / "meson.build"))
    version = machine.run([state["rayvm"], "--version"], check=True).stdout
    assert version.startswith("rayvm "), version
    linked = machine.sh(f"ldd {state['rayvm']} {state['ctl']}", check=True).stdout
    assert "not found" not in linked and str(paths.SOURCE) not in linked, linked
    for page in ("rayvm.1", "rayvmctl.1", "rayvm.ini.5"):
        assert list(state["tree"].rglob(f"{page}*")), f"no manual {page}"
    for example in ("rayvm.ini", "inittab.example"):
        assert list(state["tree"].rglob(example)), f"no {example}"


def test_the_unit_is_well_formed(machine):
    done = machine.run(["systemd-analyze", "verify", installed("rayvm.service")])
    assert "rayvm.service" not in done.stderr, done.stderr


def test_start_and_toggle(machine):
    machine.run(["systemctl", "start", "rayvm"], check=True)
    started(machine)
    machine.press("KEY_GRAVE")
    machine.wait_screen(is_pattern, 10, "the pattern").save(machine.results / "pattern.png")
    machine.press("KEY_GRAVE")
    machine.wait_screen(is_ui, 10, "the UI").save(machine.results / "ui.png")
    status = json.loads(machine.run([state["ctl"], "status", "--json"], check=True).stdout)
    assert status["keyboards"] >= 1 and status["session"] == "active", status


def test_kill_of_everything_is_mended_and_started_again(machine):
    before, = unit(machine, "MainPID")
    machine.run(["systemctl", "kill", "-s", "KILL", "rayvm"], check=True)
    machine.wait_for(lambda: unit(machine, "MainPID", "ActiveState")[1] == "active" and unit(machine, "MainPID")[0] not in ("0", before), 60,
                     "the restart", lambda: journal(machine), interval=0.5)
    started(machine)


def test_kill_of_everything_leaves_a_usable_console(machine):
    # Without systemd's own reset of the terminal: what the unit runs afterwards must do alone.
    machine.put_file("/run/systemd/system/rayvm.service.d/alone.conf", "[Service]\nRestart=no\nTTYReset=no\nTTYVHangup=no\n")
    machine.run(["systemctl", "daemon-reload"], check=True)
    machine.run(["systemctl", "kill", "-s", "KILL", "rayvm"], check=True)
    machine.wait_for(lambda: unit(machine, "ActiveState") == ["failed"], 30, "the end of the unit", lambda: journal(machine), interval=0.5)
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
    machine.run(["systemctl", "reset-failed", "rayvm"], check=True)


def test_stop_is_clean(machine):
    machine.run(["systemctl", "start", "rayvm"], check=True)
    started(machine)
    machine.run(["systemctl", "stop", "rayvm"], timeout=60, check=True)
    assert unit(machine, "ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"], journal(machine)
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
    assert not machine.exists("/run/rayvm.sock")


def test_settings_that_cannot_work_are_not_tried_again(machine):
    machine.run(["rm", "-r", "/run/systemd/system/rayvm.service.d"], check=True)
    machine.run(["systemctl", "daemon-reload"], check=True)
    settings = machine.sh(f"{state['rayvm']} --help | sed -n 's/.*settings file (default \\([^ ]*\\) .*/\\1/p'", check=True).stdout.strip()
    machine.put_file(settings, "[rayvm]\nmemory = much\n")
    machine.run(["systemctl", "start", "rayvm"])
    machine.wait_for(lambda: unit(machine, "ActiveState") == ["failed"], 30, "the end of the unit", lambda: journal(machine), interval=0.5)
    assert unit(machine, "ExecMainStatus", "NRestarts") == ["2", "0"], journal(machine)
    assert f"{settings}:2: memory" in journal(machine), journal(machine)
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
