# SPDX-License-Identifier: MIT
"""The acceptance test of the toggle with the synthetic scanout in the guest's place, by pixels and by markers."""

import signal
import time

from lab.rayvm import Rayvm, console_state, is_pattern, is_ui, measure_toggles, synthetic

ALONE = True
MACHINE = {"memory": 1536}
K_OFF = 4
state = {}


def setup(machine):
    state["rayvm"] = Rayvm(machine, ["--log-level", "debug"], env={"RAYOS_KERNEL_FEATURES": "dev_scanout"})
    state["rayvm"].marker("DEV_SCANOUT:enabled", 40)


def half_of_each(picture):
    """The upper part of one face, the lower of the other."""
    tops, feet = picture.pixel(2, 2), picture.pixel(2, picture.height - 3)
    dark = [10 < sum(colour) < 130 for colour in (tops, feet)]
    red, blue = tops[0] > 200 and tops[2] < 50, feet[2] > 200 and feet[0] < 50
    return (red and dark[1]) or (dark[0] and blue)


def shown(machine, accept, what, timeout=5):
    return machine.wait_screen(accept, timeout, what)


def test_ui_comes_first(machine):
    """Steps 1 and 2: it starts hidden, and the UI has text and status."""
    picture = state["rayvm"].ready()
    picture.save(machine.results / "ui.png")
    assert state["rayvm"].presentations() == []
    status = state["rayvm"].status()
    assert status["presentation"] == "hidden" and status["vm"] == "running" and status["keyboards"] >= 1, status
    assert status["outputs"][0]["width"] == picture.width, (status, picture.size)


def test_backtick_shows_the_desktop_and_returns(machine):
    """Steps 3 and 4."""
    rayvm = state["rayvm"]
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
    rayvm.marker("RAYOS_LINUX_DESKTOP_PRESENTED:ok:", 10)
    picture = shown(machine, is_pattern, "the pattern")
    picture.save(machine.results / "desktop.png")
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:HIDDEN", 10)
    shown(machine, is_ui, "the UI")


def test_f11_shows_and_f12_returns_and_both_are_idempotent(machine):
    rayvm = state["rayvm"]
    before = len(rayvm.presentations())
    for key in ("KEY_F12", "KEY_F11", "KEY_F11", "KEY_F12", "KEY_F12"):
        machine.press(key)
        time.sleep(0.3)
        rayvm.ctl("status")
    assert rayvm.presentations()[before:] == ["PRESENTED", "HIDDEN"], rayvm.presentations()[before:]
    shown(machine, is_ui, "the UI")


def test_holding_the_key_toggles_once(machine):
    """Auto-repeat never toggles."""
    rayvm = state["rayvm"]
    before = len(rayvm.presentations())
    machine.press("KEY_GRAVE", hold=1.5)
    time.sleep(0.5)
    assert rayvm.presentations()[before:] == ["PRESENTED"], rayvm.presentations()[before:]
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")


def test_the_guest_runs_on_while_hidden(machine):
    machine.press("KEY_F11")
    first = synthetic(shown(machine, is_pattern, "the pattern"))
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")
    time.sleep(3)
    machine.press("KEY_F11")
    second = synthetic(shown(machine, is_pattern, "the pattern"))
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")
    assert second - first > 20, f"frame {first}, then {second} after 3 seconds hidden"


def test_typing_reaches_the_ui_and_toggle_keys_do_not(machine):
    before = shown(machine, is_ui, "the UI")
    machine.press("KEY_F12")     # changes nothing, prints nothing
    time.sleep(0.5)
    assert machine.screendump() == before
    machine.type("version\n")
    machine.wait_screen(lambda p: is_ui(p) and p.difference(before) > 200, 10, "the answer to 'version'").save(machine.results / "ui-typed.png")


def test_toggles_leave_no_wrong_frame(machine):
    """Step 5: bursts of pictures while toggling hold one face or the other, never black or a mixture.

    cirrus has no page flips: its driver copies each commit into the one buffer that is scanned out, slowly enough on a
    software CPU to be caught at it. There a picture may be one face above and the other below.
    """
    rayvm = state["rayvm"]
    copies = machine.options.display == "cirrus-vga"
    before = len(rayvm.presentations())
    modesets = rayvm.stats()["modesets"]
    wrong = []
    for number in range(20):
        machine.press("KEY_GRAVE", hold=0.01)
        for picture in machine.burst(3):
            if not is_ui(picture) and not is_pattern(picture) and not (copies and half_of_each(picture)):
                wrong.append(number)
                picture.save(machine.results / f"wrong-{number}.png")
    machine.wait_for(lambda: len(rayvm.presentations()) == before + 20, 20, "20 toggles")
    assert not wrong, f"after toggles {wrong} the screen held neither face (wrong-*.png)"
    assert rayvm.stats()["modesets"] == modesets, "a toggle set a mode"
    shown(machine, is_ui, "the UI")


def test_sigint_does_not_end_it(machine):
    rayvm = state["rayvm"]
    rayvm.job.signal(signal.SIGINT)
    machine.press("KEY_LEFTCTRL", "KEY_C")
    time.sleep(1)
    assert rayvm.job.status is None
    rayvm.ctl("status")


def test_sigterm_ends_it_and_gives_the_console_back(machine):
    rayvm = state["rayvm"]
    assert console_state(machine) == (False, K_OFF)
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
    assert not machine.exists("/run/rayvm.sock")


def test_sigkill_gives_the_console_back(machine):
    rayvm = Rayvm(machine, ["--features", "dev_scanout"], log="killed.log")
    rayvm.ready()
    rayvm.job.signal(signal.SIGKILL)
    rayvm.job.wait(20)
    machine.wait_for(lambda: console_state(machine)[0] and console_state(machine)[1] != K_OFF, 10, "text mode and a keyboard", interval=0.3)
    # A stale socket is no obstacle.
    again = Rayvm(machine, ["--features", "dev_scanout"], log="again.log")
    again.ready()
    assert again.quit() == 0


def test_statistics(machine):
    """200 toggles in a row: latency from the key's time stamp to the page flip, and no key stuck."""
    with Rayvm(machine, ["--features", "dev_scanout"], log="toggles.log") as rayvm:
        rayvm.ready()
        measure_toggles(machine, rayvm)
        shown(machine, is_ui, "the UI after an even number of toggles")
        assert rayvm.quit() == 0
