#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The demo in a lab machine: rayvm with the Debian desktop, in a window for a person, or toured by pressing its keys."""

import argparse
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lab import desktop, kernel, paths  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.machine import Machine  # noqa: E402
from lab.qemu import Drive, window_reason  # noqa: E402
from lab.rayvm import Rayvm, console_state, is_ui  # noqa: E402

TOGGLES = 60
SENTENCE = "echo typed into the guest on $(uname -sr)"
BEGIN = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - BEGIN:5.1f} s] {text}", flush=True)


class Progress:
    """One line a few seconds while something takes its time."""

    def __init__(self, text, every=10):
        self.text, self.every, self.begin = text, every, time.monotonic()
        self.next = self.begin + every

    def step(self):
        now = time.monotonic()
        if now >= self.next:
            self.next = now + self.every
            say(f"  ... {self.text} ({now - self.begin:.0f} s)")


def bars(histogram):
    """Rows of a histogram in powers of two: [[largest microseconds, count], ...] -> text."""
    rows = {}
    for edge, count in histogram["buckets"]:
        limit = 0.5
        while edge > limit * 1000:
            limit *= 2
        rows[limit] = rows.get(limit, 0) + count
    most = max(rows.values(), default=1)
    return [f"    up to {limit:5g} ms  {rows[limit]:4}  {'#' * max(1, round(40 * rows[limit] / most))}" for limit in sorted(rows)]


class Tour:
    """Presses the keys a person would and keeps what the screen shows."""

    def __init__(self, machine, rayvm, out):
        self.machine, self.rayvm, self.out, self.pictures = machine, rayvm, out, []

    def keep(self, picture, name, text):
        path = self.out / f"{len(self.pictures) + 1}-{name}.png"
        picture.save(path)
        self.pictures.append((path, text))
        say(f"{text}: {os.path.relpath(path)}")

    def show(self, key, accept, what, timeout=20):
        self.machine.press(key)
        return self.machine.wait_screen(accept, timeout, what)

    def run(self):
        machine, rayvm = self.machine, self.rayvm
        rayvm.ready(60)
        self.machine.wait_for(lambda: rayvm.status()["vm"] == "running", 60, "the VM to run", interval=0.5)
        ui = machine.wait_screen(is_ui, 20, "the UI")
        self.keep(ui, "ui", "the native UI is on the panel, Debian boots behind it")
        if not rayvm.status()["scanout"]["width"]:
            machine.press("KEY_GRAVE")
            picture = machine.wait_screen(lambda p: desktop.is_placeholder(p, ui), 20, "the placeholder")
            self.keep(picture, "placeholder", "backtick, asked too early: a placeholder says what is awaited")
            self.show("KEY_GRAVE", lambda p: is_ui(p) and not desktop.is_placeholder(p, ui), "the UI")
        progress = Progress("Debian boots")
        machine.wait_for(lambda: (progress.step(), desktop.is_ready(machine))[1], 400, "DESKTOP:READY on the guest's serial port",
                         lambda: f"rayvm said:\n{rayvm.job.log_text()[-1500:]}", interval=0.3)
        picture = self.show("KEY_GRAVE", desktop.has_terminal, "the desktop with its terminal", 60)
        self.keep(picture, "desktop", "backtick: the Debian desktop")
        machine.type(SENTENCE + "\n", pause=0.08)
        rayvm.ctl("type", "echo and proved on its serial port: TOUR-$((6*7)) | tee /dev/ttyS0\n")
        desktop.said(machine, r"TOUR-42", 60)
        time.sleep(1)
        machine.move(900, 200)
        time.sleep(1)
        self.keep(machine.wait_screen(desktop.has_terminal, 20, "the desktop"), "typed", "typed there, and seen on the guest's serial port")
        self.show("KEY_F12", is_ui, "the UI")
        machine.type("status\n", pause=0.08)
        time.sleep(2)
        self.keep(machine.wait_screen(is_ui, 20, "the UI"), "back", "F12: back in the UI, where 'status' was typed; Debian runs on")
        self.toggle()
        say("pressing the guest's power button")
        rayvm.ctl("vm", "powerdown")
        rayvm.wait("vm:stopped", 150)
        status = rayvm.quit()
        text, _ = console_state(machine)
        if status or not text:
            raise LabError(f"rayvm ended with {status}, console {'in text mode' if text else 'not given back'}:\n{rayvm.job.log_text()[-1500:]}")
        say("the guest powered off, rayvm ended with 0, the text console is back")

    def toggle(self):
        machine, rayvm = self.machine, self.rayvm
        before = len(rayvm.presentations())
        rayvm.stats(reset=True)
        for _ in range(TOGGLES):
            machine.press("KEY_GRAVE", hold=0.01)
            time.sleep(0.1)
        machine.wait_for(lambda: len(rayvm.presentations()) >= before + TOGGLES, 60, f"{TOGGLES} toggles")
        machine.wait_screen(is_ui, 20, "the UI after an even number of toggles")
        stats = rayvm.stats()
        refresh = rayvm.status()["outputs"][0]["refresh"] or 60
        say(f"{TOGGLES} toggles, from the key's time stamp to the page flip (refresh {1000 / refresh:.1f} ms, on an emulated CPU):")
        print("\n".join(bars(stats["toggle_flip_us"])))
        print(f"    mode changes: {stats['modesets']}; bytes copied: {stats['bytes_copied']} for {stats['bytes_damaged']} damaged", flush=True)
        if stats["modesets"]:
            raise LabError("a toggle changed the mode")


def window(machine, rayvm):
    """A person has the keys."""
    say("The window shows the panel. Debian boots in the background (about a minute on a software CPU).")
    say("Keys: ` toggles, F11 shows the desktop, F12 returns. Click into the window if keys do not arrive. Close it to end.")
    ready = False
    while machine.alive:
        try:
            if rayvm.job.status is not None:
                say(f"rayvm ended with {rayvm.job.status}")
                return rayvm.job.status
            if not ready and desktop.is_ready(machine):
                ready = True
                say("the desktop is ready: press `")
            machine.poll(0.5)
        except LabError:
            break       # the window was closed
    return 0


def main():
    parser = argparse.ArgumentParser(description="Show rayvm with the Debian desktop in a lab machine. ./run-demo calls this.")
    parser.add_argument("--window", action="store_true", help="in a window, for a person; without: a tour that leaves pictures")
    parser.add_argument("--out", default="demo-out", metavar="FOLDER", help="where pictures and logs go (default demo-out)")
    options = parser.parse_args()
    if options.window and window_reason():
        print(f"tour: no window: {window_reason()}", file=sys.stderr)
        return 1
    out = pathlib.Path(options.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.png"), *out.glob("*.log*")):
        old.unlink()

    # A signal ends us by way of __exit__, so that QEMU and its folder go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        say("fetching what the guest and the lab need, where it is not there yet")
        files = desktop.files()
        kernel.fetch_kernel(kernel.DEFAULT_KERNEL)
        say("starting the lab machine (QEMU)")
        with Machine(results=out, memory=desktop.LAB_MEMORY, drives=[Drive(files["disk.img"])], window=options.window) as machine:
            say(f"the lab machine is up after {machine.boot_seconds:.0f} s; starting rayvm on its console")
            with Rayvm(machine, desktop.arguments(files)) as rayvm:
                if options.window:
                    return window(machine, rayvm)
                tour = Tour(machine, rayvm, out)
                tour.run()
    except KeyboardInterrupt:
        print("tour: interrupted", file=sys.stderr)
        return 130
    except (LabError, AssertionError, OSError) as error:
        print(f"tour: {error}\ntour: failed; logs and pictures: {out}", file=sys.stderr)
        return 1
    print("\nThe tour went through:")
    for path, text in tour.pictures:
        print(f"  {os.path.relpath(path):28} {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
