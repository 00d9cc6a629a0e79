# SPDX-License-Identifier: MIT
"""rayvm on this machine itself, with its panel in memory, and the tools that measure beside it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

from lab import paths
from lab.errors import LabError


class Client:
    """A connection to the control socket: no process for a command, which would be a load of its own."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._input = b""

    def __call__(self, command, fds=(), **arguments):
        """The command's result; a LabError when it was refused. FDS go with it."""
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        sent = socket.send_fds(self._socket, [line], list(fds))
        self._socket.sendall(line[sent:])
        while b"\n" not in self._input:
            data = self._socket.recv(1 << 16)
            if not data:
                raise LabError(f"{command}: rayvm closed the connection")
            self._input += data
        answer, self._input = self._input.split(b"\n", 1)
        answer = json.loads(answer)
        if not answer["ok"]:
            raise LabError(f"{command}: {answer['error']}")
        return answer.get("result")

    def close(self):
        self._socket.close()


class Panel:
    """One rayvm with a panel in memory, 60 Hz. Call it with a command."""

    def __init__(self, folder, arguments, markers=None):
        self.socket = folder / "control"
        self.log = folder / "rayvm.log"
        argv = [str(paths.built("src/rayvm")), "--display", "headless", "--mode", "1280x800@60", "--control", str(self.socket),
                "--markers", f"fd:{markers}" if markers is not None else str(folder / "markers"), *map(str, arguments)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[markers] if markers is not None else [])
        for _ in range(500):
            with contextlib.suppress(OSError):
                self.ask = Client(self.socket)
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.end()
        raise LabError(f"rayvm did not start: {self.log.read_text(errors='replace')[-800:]}")

    def __call__(self, command, **arguments):
        return self.ask(command, **arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def client(self):
        """One more connection, for another thread."""
        return Client(self.socket)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def realtime(self):
        """The front thread is the process's first."""
        return os.sched_getscheduler(self.process.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR


@contextlib.contextmanager
def bare_wakes():
    """tests/tools/barewake beside what is measured; the dictionary is filled when it has ended."""
    found = {}
    process = subprocess.Popen([str(paths.built("tests/tools/barewake"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield found
        found.update(json.loads(process.communicate(timeout=10)[0]))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
