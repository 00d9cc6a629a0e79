# SPDX-License-Identifier: MIT
"""A small client for QEMU's monitor protocol."""

import json
import socket
import time

from .errors import LabError, LabTimeout


class Qmp:
    """One connection. Not for use by several threads."""

    def __init__(self, path, deadline):
        """Connect to the unix socket PATH; DEADLINE is on time.monotonic()'s clock."""
        self.events = []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LabTimeout(f"QEMU's monitor does not answer: {error}") from error
                time.sleep(0.02)
        self._read(deadline)    # greeting
        self.command("qmp_capabilities")

    def close(self):
        self._socket.close()

    def _read(self, deadline):
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabTimeout("QEMU's monitor did not answer in time")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError as error:
                raise LabTimeout("QEMU's monitor did not answer in time") from error
            except OSError as error:
                raise LabError(f"QEMU's monitor: {error}") from error
            if not data:
                raise LabError("QEMU closed its monitor")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def command(self, name, timeout=30.0, **arguments):
        """Run one command and return what it answers. "__" in argument names becomes a dash."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = {key.replace("__", "-"): value for key, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise LabError(f"QEMU's monitor: {error}") from error
        deadline = time.monotonic() + timeout
        while True:
            answer = self._read(deadline)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise LabError(f"QMP {name}: {answer['error'].get('desc')}")
            elif "return" in answer:
                return answer["return"]

    def wait_event(self, name, match=lambda data: True, timeout=30.0):
        """Wait for the event NAME whose data MATCH accepts; return its data."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    return event.get("data", {})
            answer = self._read(deadline)
            if "event" in answer:
                self.events.append(answer)
