# SPDX-License-Identifier: MIT
"""Another virtual terminal and back, by the keys a person uses: the card and the keys are given away, and taken again."""

import time

from lab.rayvm import Rayvm, console_state, is_pattern, is_ui

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 1536}
state = {}


def setup(machine):
    state["rayvm"] = Rayvm(machine, ["--features", "dev_scanout"])
    state["rayvm"].ready()


def terminal(machine):
    return machine.sh("cat /sys/class/tty/tty0/active", check=True).stdout.strip()


def away(machine):
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F2")
    machine.wait_for(lambda: terminal(machine) == "tty2", 20, "the second terminal", interval=0.2)
    machine.wait_for(lambda: state["rayvm"].status()["session"] == "inactive", 20, "an inactive session", interval=0.2)


def back(machine):
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F1")
    machine.wait_for(lambda: state["rayvm"].status()["session"] == "active", 20, "an active session", interval=0.2)
    assert terminal(machine) == "tty1"


def test_ctrl_alt_f2_gives_the_screen_away_and_f1_brings_it_back(machine):
    away(machine)
    machine.wait_screen(lambda p: not is_ui(p), 20, "the text terminal")
    assert console_state(machine, "/dev/tty2")[0], "the other terminal is in text mode"
    back(machine)
    machine.wait_screen(is_ui, 20, "the UI")


def test_keys_typed_elsewhere_stay_there(machine):
    rayvm = state["rayvm"]
    before, changes = machine.wait_screen(is_ui, 20, "the UI"), len(rayvm.presentations())
    away(machine)
    machine.type("abc")
    machine.press("KEY_GRAVE")
    time.sleep(1)
    back(machine)
    after = machine.wait_screen(is_ui, 20, "the UI")
    assert rayvm.presentations()[changes:] == [], "a toggle key of another terminal toggled"
    prompt = (0, before.height - 100, before.width, 60)
    assert after.crop(*prompt) == before.crop(*prompt), "letters of another terminal are in the prompt"


def test_chvt_takes_the_screen_and_gives_it_back(machine):
    """As the keys do, while another program asks for the terminal: the UI shown, then the guest's face."""
    rayvm = state["rayvm"]
    for key, accept in (("KEY_F12", is_ui), ("KEY_F11", is_pattern)):
        machine.press(key)
        machine.wait_screen(accept, 20, "the face")
        modesets = rayvm.stats()["modesets"]
        rayvm.chvt(2)
        rayvm.chvt(1)
        machine.wait_screen(accept, 20, "the face again")
        assert rayvm.stats()["modesets"] > modesets, "the whole state is committed again"
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 20, "the UI")


def test_the_guests_face_comes_back_and_no_modifier_sticks(machine):
    rayvm = state["rayvm"]
    machine.press("KEY_F11")
    machine.wait_screen(is_pattern, 20, "the pattern")
    away(machine)
    back(machine)
    machine.wait_screen(is_pattern, 20, "the pattern again")
    machine.press("KEY_F12")
    before = machine.wait_screen(is_ui, 20, "the UI")
    machine.type("version\n", pause=0.05)      # with Ctrl or Alt stuck this would be no word
    machine.wait_screen(lambda p: is_ui(p) and p.difference(before) > 200, 20, "the answer to 'version'")
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
