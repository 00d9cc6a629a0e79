#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A screen that goes off and on, end to end and in memory: test_display.py RAYVM RAYVMCTL, prints TAP."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

RAYVM, RAYVMCTL = (str(pathlib.Path(word).absolute()) for word in sys.argv[1:3])


class Running:
    """rayvm with the test pattern in the guest's place, in a folder of its own."""

    def __init__(self, folder, *words):
        self.socket = os.path.join(folder, "control.sock")
        self.log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "RAYOS_KERNEL_FEATURES"}
        self.process = subprocess.Popen([RAYVM, "--display", "headless", "--mode", "640x480", "--features", "dev_scanout", "--control", self.socket,
                                         *words], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)

    def __enter__(self):
        deadline = time.monotonic() + 20
        while not os.path.exists(self.socket):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)
        self.ask("wait", "scanout", "--timeout", "10")
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(20) == 0, self.said()
        self.log.close()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def ask(self, *words, status=0):
        done = subprocess.run([RAYVMCTL, "-s", self.socket, *words], capture_output=True, text=True, timeout=30)
        assert done.returncode == status, (words, done, self.said())
        return done.stdout + done.stderr

    def status(self):
        return json.loads(self.ask("status", "--json"))

    def stats(self):
        return json.loads(self.ask("stats", "--json"))


def test_on_request(folder):
    with Running(folder) as rayvm:
        assert rayvm.status()["display"] == "on"
        rayvm.ask("show", "guest")
        rayvm.ask("display", "off")
        status = rayvm.status()
        assert status["display"] == "off" and "off" in status["lines"]["display"]["text"], status
        rayvm.ask("display", "off")
        before = rayvm.stats()
        time.sleep(0.5)
        after = rayvm.stats()
        assert after["commits"] == before["commits"], (before, after)
        # The pattern waits for its frames to be answered: it goes on at its pace, unseen.
        assert after["frames_flushed"] >= before["frames_flushed"] + 5, (before, after)
        rayvm.ask("display", "on")
        assert rayvm.status()["display"] == "on"
        rayvm.ask("wait", "display:on", "--timeout", "1")
        assert rayvm.stats()["modesets"] == before["modesets"] + 1
        assert "display: 'state' is on or off" in rayvm.ask("display", "dim", status=1)
        assert "display needs on or off" in rayvm.ask("display", status=2)


def test_after_idle_and_woken_by_a_key(folder):
    with Running(folder, "--blank-after", "1") as rayvm:
        rayvm.ask("wait", "display:off", "--timeout", "10")
        assert rayvm.status()["presentation"] == "hidden"
        # What wakes is swallowed, and nothing after it: the UI's prompt gets a command that it knows.
        rayvm.ask("type", "xtoggle")
        assert rayvm.status()["display"] == "on"
        rayvm.ask("press", "KEY_ENTER")
        rayvm.ask("wait", "guest", "--timeout", "5")
        rayvm.ask("show", "ui")
        # A toggle key wakes and acts.
        rayvm.ask("wait", "display:off", "--timeout", "10")
        modesets = rayvm.stats()["modesets"]
        rayvm.ask("press", "KEY_F11")
        status = rayvm.status()
        assert status["display"] == "on" and status["presentation"] == "presented", status
        assert rayvm.stats()["modesets"] == modesets + 1
        # What is addressed to the guest, or only changes what is shown, is no person in front of it.
        rayvm.ask("wait", "display:off", "--timeout", "10")
        rayvm.ask("press", "--guest", "KEY_X")
        rayvm.ask("show", "ui")
        assert rayvm.status()["display"] == "off"
        # The pointer wakes it, too, and as long as it moves it stays on.
        for step in range(8):
            rayvm.ask("pointer", str(100 + step), "100")
            assert rayvm.status()["display"] == "on"
            time.sleep(0.3)


def test_off_by_default(folder):
    with Running(folder) as rayvm:
        time.sleep(2.5)
        assert rayvm.status()["display"] == "on"
        assert "goes off" not in rayvm.said()


def test_events(folder):
    with Running(folder) as rayvm:
        events = subprocess.Popen([RAYVMCTL, "-s", rayvm.socket, "events"], stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.5)
            rayvm.ask("display", "off")
            rayvm.ask("click", "left")
            seen = []
            while len(seen) < 2:
                event = json.loads(events.stdout.readline())
                if event.get("event") == "display":
                    seen.append(event["state"])
            assert seen == ["off", "on"], seen
        finally:
            events.terminate()
            events.wait()
            events.stdout.close()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
failures = 0
print(f"1..{len(TESTS)}")
for number, test in enumerate(TESTS, 1):
    try:
        with tempfile.TemporaryDirectory() as temporary:
            test(temporary)
        print(f"ok {number} - {test.__name__}", flush=True)
    except Exception as error:
        failures += 1
        print("#", repr(error).replace("\\n", "\n# "))
        print(f"not ok {number} - {test.__name__}", flush=True)
sys.exit(failures != 0)
