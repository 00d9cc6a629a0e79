# SPDX-License-Identifier: MIT
"""rayvm inside L1: start it, command it, wait for its markers, tell its faces apart.

    with Rayvm(machine, ["--features", "dev_scanout"]) as rayvm:
        machine.press("KEY_GRAVE")
        rayvm.marker("LINUX_PRESENTATION:PRESENTED")
        print(rayvm.status()["presentation"], rayvm.stats()["toggle_flip_us"])
"""

import json
import signal
import subprocess
import sys
import time

from . import cache, paths

sys.path.insert(0, str(paths.SOURCE / "tests" / "guests"))
import tinypic  # noqa: E402  (lies with the guests)

SOCKET = "/run/rayvm.sock"
PREFIX = "RAYOS_HOST_EVENT_V0:LINUX_PRESENTATION:"


def guest_files(maker, *arguments):
    """What tests/guests/MAKER makes (kept in a cache), by name: {"vmlinuz": path, "initrd": path, ...}."""
    command = [str(paths.SOURCE / "tests" / "guests" / maker), *arguments]
    with cache.locked(maker):
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return {path.rsplit("/", 1)[1]: path for path in printed if "/" in path}


def synthetic(picture):
    """The frame counter of the synthetic scanout (the whole picture), or None when this is something else."""
    width, height = picture.size
    corners = (picture.pixel(5, 5), picture.pixel(width - 5, 5), picture.pixel(5, height - 5), picture.pixel(width - 5, height - 5))
    wanted = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    if any(abs(a - b) > 8 for corner, want in zip(corners, wanted) for a, b in zip(corner, want)):
        return None
    return sum((picture.pixel(100 + 16 * i + 8, 108)[1] > 128) << (31 - i) for i in range(32))


def is_pattern(picture):
    return synthetic(picture) is not None


def tiny(picture):
    """What the tiny guest shows (tinypic.Seen), or None when it is not on this picture."""
    plain = tinypic.Picture(picture.width, picture.height, picture.data)
    where = tinypic.find(plain)
    if where is None:
        return None
    try:
        return tinypic.read(plain, where)
    except tinypic.NotTiny:
        return None


def is_ui(picture):
    """The native UI: its dark background in the corners and some bright text."""
    width, height = picture.size
    corners = (picture.pixel(2, 2), picture.pixel(width - 3, 2), picture.pixel(2, height - 3), picture.pixel(width - 3, height - 3))
    if len(set(corners)) != 1 or not 10 < sum(corners[0]) < 130:
        return False
    return picture.fraction(corners[0]) < 0.98


class Rayvm:
    """One run of rayvm in MACHINE. TTY: which terminal it is started on."""

    def __init__(self, machine, arguments, log="rayvm.log", tty="/dev/tty1", env=None, cgroup=None, program=None):
        self.machine = machine
        argv = [str(program or paths.built("src/rayvm")), "--control", SOCKET, "--markers", f"/lab/{log}.markers", "--shutdown-timeout", "0",
                *map(str, arguments)]
        if machine.isolated and "--isolate" not in argv:
            argv.append("--isolate")
        markers = machine.results / f"{log}.markers"
        markers.unlink(missing_ok=True)
        environment = {"LIBSEAT_BACKEND": "builtin", **(env or {})}
        self.job = machine.spawn(argv, log=log, tty=tty, env=environment, cgroup=cgroup)
        self.markers_path, self._at = markers, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.machine.alive and self.job.status is None:
            self.job.stop()

    def markers(self):
        return self.markers_path.read_text(errors="replace") if self.markers_path.exists() else ""

    def marker(self, text, timeout=30):
        """Wait for a marker line that contains TEXT, after the one found last. Returns the line."""
        found = []

        def look():
            lines = self.markers()[self._at:]
            at = 0
            for line in lines.splitlines(keepends=True):
                at += len(line)
                if text in line and line.endswith("\n"):
                    found.append(line.strip())
                    self._at += at
                    return True
            if self.job.status is not None:
                raise AssertionError(f"rayvm ended with {self.job.status} before the marker {text}\n{self.job.log_text()[-2000:]}")
            return False

        self.machine.wait_for(look, timeout, f"the marker {text}",
                              lambda: f"markers so far:\n{self.markers()[-800:]}\nlog:\n{self.job.log_text()[-2500:]}")
        return found[0]

    def presentations(self):
        """All presentation changes so far, "PRESENTED" and "HIDDEN"."""
        return [line[len(PREFIX):] for line in self.markers().splitlines() if line.startswith(PREFIX)]

    def ctl(self, *words, check=True, timeout=40):
        return self.machine.run([str(paths.built("src/rayvmctl")), "-s", SOCKET, *map(str, words)], timeout, check=check)

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def stats(self, reset=False):
        return json.loads(self.ctl("stats", "--json", *(["--reset"] if reset else [])).stdout)

    def wait(self, state, timeout=60):
        self.ctl("wait", state, "--timeout", timeout, timeout=timeout + 20)

    def chvt(self, number):
        """Another program switches to the terminal NUMBER, of which 1 is rayvm's."""
        self.machine.run(["/run/lab/busybox", "chvt", str(number)], check=True)
        wanted = "active" if number == 1 else "inactive"
        self.machine.wait_for(lambda: self.status()["session"] == wanted, 20, f"an {wanted} session", interval=0.2)

    def listening(self, timeout=60):
        """Wait until rayvmctl can reach it: one that was killed left a socket, too."""
        def reachable():
            return self.machine.exists(SOCKET) and self.ctl("status", check=False).status == 0

        self.machine.wait_for(lambda: self.job.status is not None or reachable(), timeout, "the control socket",
                              lambda: self.job.log_text()[-2500:], interval=0.2)
        assert self.job.status is None, f"rayvm ended with {self.job.status}:\n{self.job.log_text()[-2500:]}"

    def ready(self, timeout=60):
        """Wait until the UI is on the panel."""
        self.listening(timeout)
        return self.machine.wait_screen(is_ui, timeout, "the native UI on the screen", 0.2)

    def quit(self):
        self.job.signal(signal.SIGTERM)
        status = self.job.wait(30)
        refused = [line for line in self.job.log_text().splitlines() if "the system call" in line and "was refused" in line]
        assert not refused, f"the sandbox stands in rayvm's own way: {refused}"
        return status


def measure_toggles(machine, rayvm, between=lambda number: None, attempts=3):
    """200 toggles: 95 % of the flips within 2 refresh intervals of the key's time stamp, none above 150 ms.

    The software CPU shares its cores with whatever else runs, so a bad attempt is repeated; each is printed. BETWEEN is
    called after each press. Returns the statistics of the attempt that held; an AssertionError has all figures.
    """
    refresh_us = 1e6 / (rayvm.status()["outputs"][0]["refresh"] or 60)
    tried = []
    for _ in range(attempts):
        changes = len(rayvm.presentations())
        rayvm.stats(reset=True)
        for number in range(200):
            machine.press("KEY_GRAVE", hold=0.005)
            between(number)
            time.sleep(0.08)
        machine.wait_for(lambda: len(rayvm.presentations()) == changes + 200, 30, "200 toggles",
                         lambda: f"{len(rayvm.presentations()) - changes} so far")
        time.sleep(0.5)
        stats = rayvm.stats()
        flips = stats["toggle_flip_us"]
        print(f"         toggle to flip, microseconds: {flips}; replaced before a flip: {stats['toggles_replaced']}; "
              f"refresh {refresh_us:.0f}", flush=True)
        assert stats["modesets"] == 0, stats
        assert flips["count"] + stats["toggles_replaced"] == 200, stats
        tried.append(flips)
        if flips["count"] >= 190 and flips["p95"] <= 2 * refresh_us and flips["max"] <= 150000:
            return stats
    raise AssertionError(f"no attempt held: {tried}, refresh {refresh_us:.0f} us")


def console_state(machine, tty="/dev/tty1"):
    """(text mode?, keyboard mode) of a virtual terminal: (True, 3) is what a fresh one has (K_UNICODE)."""
    script = ("import fcntl,struct,os,sys\n"
              f"fd=os.open({tty!r},os.O_RDWR|os.O_NOCTTY)\n"
              "a=bytearray(4);fcntl.ioctl(fd,0x4B3B,a,True)\n"   # KDGETMODE
              "b=bytearray(4);fcntl.ioctl(fd,0x4B44,b,True)\n"   # KDGKBMODE
              "print(struct.unpack('i',a)[0],struct.unpack('i',b)[0])\n")
    mode, keyboard = map(int, machine.run(["/usr/bin/python3", "-c", script], check=True).stdout.split())
    return mode == 0, keyboard


def caps_lock_lit(machine):
    """Whether the light is on, on any of L1's keyboards."""
    return "1" in machine.sh("cat /sys/class/leds/*capslock/brightness", check=True).stdout.split()
