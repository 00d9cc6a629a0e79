# SPDX-License-Identifier: MIT
"""The calls from before atomic commits, forced on a driver that has both: the same faces, the same toggles."""

import time

from lab.rayvm import Rayvm, is_pattern, is_ui, synthetic

DISPLAYS = ("bochs-display",)
DISPLAYS_ALL = ("virtio-vga",)
MACHINE = {"memory": 1536}


def test_faces_and_toggles(machine):
    with Rayvm(machine, ["--features", "dev_scanout,legacy_kms", "--log-level", "debug"]) as rayvm:
        rayvm.ready().save(machine.results / "ui.png")
        assert "legacy calls" in rayvm.job.log_text(), rayvm.job.log_text()[-2000:]
        modesets = rayvm.stats()["modesets"]
        machine.press("KEY_GRAVE")
        picture = machine.wait_screen(is_pattern, 10, "the pattern")
        picture.save(machine.results / "desktop.png")
        time.sleep(1)
        later = machine.wait_screen(is_pattern, 10, "the pattern, later")
        assert synthetic(later) > synthetic(picture), "the pattern stands still"
        machine.press("KEY_GRAVE")
        machine.wait_screen(is_ui, 10, "the UI")
        wrong = []
        for number in range(10):
            machine.press("KEY_GRAVE", hold=0.01)
            for seen in machine.burst(3):
                if not is_ui(seen) and not is_pattern(seen):
                    wrong.append(number)
                    seen.save(machine.results / f"wrong-{number}.png")
        assert not wrong, f"after toggles {wrong} the screen held neither face (wrong-*.png)"
        machine.wait_for(lambda: len(rayvm.presentations()) == 12, 20, "12 toggles")
        stats = rayvm.stats()
        assert stats["modesets"] == modesets, "a toggle set a mode"
        assert stats["toggle_flip_us"]["count"] >= 2, stats
        machine.wait_screen(is_ui, 10, "the UI, as before")
        assert rayvm.quit() == 0
