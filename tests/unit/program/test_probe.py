#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rayvm --probe-panel without a card, end to end: test_probe.py RAYVM, prints TAP. How fast this machine is is not judged."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

RAYVM = str(pathlib.Path(sys.argv[1]).absolute())
FAILED, USAGE = 1, 2
HEADLESS = ("--display", "headless")
REFRESH_US = 1e6 / 60


def start(folder, *words, **more):
    environment = {name: value for name, value in os.environ.items() if name not in ("RAYOS_KERNEL_FEATURES", "XDG_RUNTIME_DIR")}
    return subprocess.Popen([RAYVM, *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            **{"stdout": subprocess.PIPE, **more})


def run(folder, *words, **more):
    with start(folder, *words, **more) as process:
        said, progress = process.communicate(timeout=60)
    assert "refused" not in progress, progress      # by the sandbox
    assert "RAYOS_" not in progress, progress       # no marker for each toggle
    assert not os.listdir(folder), os.listdir(folder)
    return process.returncode, said, progress


def test_report(folder):
    status, said, progress = run(folder, *HEADLESS, "--mode", "640x480", "--probe-panel=2", "--json")
    assert status == 0, (status, progress)
    # Sanitizers may have a word as well.
    lines = [line for line in progress.splitlines() if line.startswith("rayvm: ")]
    assert lines == [f"rayvm: probing the panel: {phase}" for phase in ("the card", "flips", "toggles", "copies")], progress
    report = json.loads(said)
    assert said.count("\n") == 1 and report["complete"] is True and report["incomplete"] is None and report["seconds"] == 2, said
    assert report["version"] and report["kernel"] == os.uname().release, said
    card, output, flips, toggles, copy = (report[part] for part in ("card", "output", "flips", "toggles", "copy"))
    assert card["driver"] == "headless" and card["path"] is None and not card["zero_copy"] and card["copies"], card
    assert all(card["planes"][kind] == {"count": 0, "formats": []} for kind in ("primary", "overlay", "cursor")), card
    assert (output["connector"], output["width"], output["height"], output["refresh"], output["vblank"]) == ("Headless-1", 640, 480, 60.0, True), output

    assert 0.9 < flips["seconds"] < 5 and 5 < flips["count"] <= flips["seconds"] * 60 + 2 and flips["path"] == "copy", flips
    interval, jitter = flips["interval_us"], flips["jitter_us"]
    assert interval["count"] == jitter["count"] == sum(flips["after_refreshes"]) == flips["count"] - 1, flips
    assert REFRESH_US - 1 < interval["min"] <= interval["p50"] <= interval["p95"] <= interval["p99"] <= interval["max"], interval
    assert jitter["max"] < 10, jitter               # flips in memory are on a grid, however late the machine is
    # What was missed and what was flipped fill the time from the first flip to the last.
    assert abs((flips["count"] - 1 + flips["missed_refreshes"]) * REFRESH_US - flips["seconds"] * 1e6) < 6 * REFRESH_US + interval["max"], flips
    assert flips["latch_misses"] <= flips["missed_refreshes"] + 1, flips

    assert 5 <= toggles["asked"] <= 16 and toggles["modesets"] == 0, toggles
    # The last one may not be on the screen yet when it ends, on a machine that is busy with other things.
    assert toggles["asked"] - 1 <= toggles["commit_us"]["count"] + toggles["replaced"] <= toggles["asked"], toggles
    assert toggles["commit_us"]["count"] - 1 <= toggles["flip_us"]["count"] <= toggles["commit_us"]["count"], toggles
    judged = toggles["in_time"] + toggles["late"]
    assert 0 < judged <= toggles["flip_us"]["count"] and abs(toggles["first_vblank"] - toggles["in_time"] / judged) < 0.001, toggles
    assert 0 < toggles["commit_us"]["p50"] <= toggles["flip_us"]["p50"] <= toggles["flip_us"]["max"], toggles
    assert sum(count for _, count in toggles["flip_us"]["buckets"]) == toggles["flip_us"]["count"], toggles

    assert copy["error"] is None and copy["runs"] >= 1 and copy["pitch"] == 640 * 4, copy
    for way in ("whole_gb_s", "rows_gb_s"):
        assert copy[way]["bytes"] == 640 * 480 * 4 and 0.01 < copy[way]["worst"] <= copy[way]["median"] <= copy[way]["best"] < 1000, copy
    assert {"card", "output", "flips", "toggles", "copy"} <= set(report["verdicts"]), report["verdicts"]


def test_table(folder):
    status, said, progress = run(folder, *HEADLESS, "--probe-panel=1")
    assert status == 0, (status, progress)
    for name in ("card", "output", "vblank", "zero-copy", "flips", "interval", "jitter", "toggles", "copy"):
        assert re.search(rf"^\[(OK|--|!!)\] {name} +\S", said, re.MULTILINE), f"no line of {name}:\n{said}"
    assert re.search(r"^ +\d+\.\d to +\d+\.\d ms +\d+ #", said, re.MULTILINE), f"no histogram:\n{said}"
    assert "Not everything" not in said, said


def test_refusals(folder):
    for words, text in ((("--probe-panel=0",), "between 1 and 600"), (("--probe-panel=abc",), "between 1 and 600"), (("--probe-panel=99999",), "between 1 and 600"),
                        (("--probe-panel=5s",), "between 1 and 600"), (("--probe-panel=-1",), "between 1 and 600"), (("--probe-panel",  "7"), "'7' is no option"),
                        (("--probe-panel", "--display", "none"), "kms or headless"), (("--json",), "--probe-panel")):
        status, said, lines = run(folder, *HEADLESS, *words)
        assert status == USAGE and said == "" and len(lines.splitlines()) == 1 and lines.startswith("rayvm: ") and text in lines, (words, status, said, lines)


def ended_early(folder, phase, number):
    with start(folder, *HEADLESS, "--probe-panel=600", "--json") as process:
        for line in process.stderr:
            if line.endswith(f": {phase}\n"):
                break
        time.sleep(0.7)
        begin = time.monotonic()
        process.send_signal(number)
        said, progress = process.communicate(timeout=30)
        assert process.returncode == 0 and time.monotonic() - begin < 10, (process.returncode, progress)
    return json.loads(said)


def test_signals_end_it_with_what_there_is(folder):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        report = ended_early(folder, "flips", number)
        assert report["complete"] is False and "early" in report["incomplete"], report
        assert report["card"] and report["flips"]["count"] > 3 and report["toggles"] is None and report["copy"] is None, report
    report = ended_early(folder, "the card", signal.SIGTERM)
    assert report["complete"] is False and report["toggles"] is None, report


def test_nobody_reads_the_report(folder):
    with open("/dev/full", "w", encoding="ascii") as full:
        status, _, lines = run(folder, *HEADLESS, "--probe-panel=1", "--json", stdout=full)
    assert status == FAILED and "the report cannot be written" in lines, (status, lines)


def main():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    tests = [(name[5:], function) for name, function in globals().items() if name.startswith("test_")]
    print(f"1..{len(tests)}", flush=True)
    for number, (name, function) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory(prefix="rayvm-probe-") as folder:
            try:
                function(folder)
                print(f"ok {number} - {name}", flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
                print(f"not ok {number} - {name}", flush=True)
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}", flush=True)


main()
