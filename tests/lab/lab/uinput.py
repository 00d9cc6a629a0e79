# SPDX-License-Identifier: MIT
"""Devices inside L1 made with uinput, and hands on them: tests/lab/uinput-play says what a line may be."""

import re

from . import paths

FIFO = "/run/uinput-play"


class Player:
    """uinput-play in MACHINE, told line by line."""

    def __init__(self, machine):
        self._machine = machine
        machine.sh(f"modprobe uinput; rm -f {FIFO}; mkfifo {FIFO}", check=True)
        self._job = machine.spawn(["/bin/sh", "-c", f"exec {paths.LAB}/uinput-play <>{FIFO}"], log="uinput-play.log")
        self._job.wait_log("^ready$", 30)

    def begin(self, line):
        self._machine.sh(f"echo '{line}' >{FIFO}", check=True)

    def end(self, line, timeout=30):
        """Wait until a line that was begun has been played."""
        self._job.wait_log(f"^ok {re.escape(line)}$", timeout)

    def play(self, line, timeout=30):
        self.begin(line)
        self.end(line, timeout)
