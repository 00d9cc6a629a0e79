# SPDX-License-Identifier: MIT
"""L1 from outside: start it, run programs in it, press its keys, look at its screen, end it.

    with Machine(display="bochs-display") as machine:
        job = machine.spawn(["/path/to/program"], log="program.log")
        job.wait_log(r"ready", timeout=20)
        machine.press("KEY_GRAVE")
        machine.screendump().save("now.png")

Everything that waits has a deadline in seconds, multiplied by RAYVM_LAB_TIMEOUT_SCALE, and raises LabTimeout with the
end of the serial console's log. One thread uses a Machine.
"""

import base64
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import host, keys, qemu, rfb
from .errors import LabError, LabTimeout
from .picture import Picture
from .qmp import Qmp

PANIC = re.compile(r"Kernel panic - not syncing.*")
BOOT_TIMEOUT = float(os.environ.get("RAYVM_LAB_BOOT_TIMEOUT", "120"))
PR_SET_PDEATHSIG = 1
TABLET_RANGE = 0x7FFF   # QEMU's absolute axes (INPUT_EVENT_ABS_MAX)


@dataclasses.dataclass
class Result:
    """How a program ended: `status` is its exit status, or minus the signal that killed it."""
    status: int
    stdout: str
    stderr: str


def tail(text, lines=15):
    """The last LINES of TEXT, indented for a message."""
    return "\n".join(f"    | {line}" for line in text.strip().splitlines()[-lines:])


class Job:
    """A program running inside. `pid` is L1's; `log` the host's path of its log, or None."""

    def __init__(self, machine, number, pid, log):
        self.machine, self.number, self.pid, self.log = machine, number, pid, log
        self.name = ""
        self._log_at = 0

    @property
    def status(self):
        """Exit status (minus the signal), or None while it runs."""
        self.machine.poll()
        ended = self.machine.ended.get(self.number)
        return ended["status"] if ended else None

    def wait(self, timeout=30):
        """Wait for its end and return the status."""
        self.machine.wait_for(lambda: self.number in self.machine.ended, timeout, f"the end of {self.name}",
                              self._words)
        return self.machine.ended[self.number]["status"]

    def signal(self, number, group=False):
        """Send a signal (number or signal.SIG...) to it, or to its whole process group."""
        self.machine.request("signal", pid=self.pid, signal=int(number), group=group)

    def stop(self, timeout=20):
        """SIGTERM, and SIGKILL to its group if that is not enough. Returns the status."""
        if self.status is None:
            self.signal(signal.SIGTERM)
            try:
                return self.wait(timeout)
            except LabTimeout:
                self.signal(signal.SIGKILL, group=True)
        return self.wait(10)

    def log_text(self):
        """All of its log up to now."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log and self.log.exists() else ""

    def _words(self):
        return f"end of its log:\n{tail(self.log_text())}" if self.log else ""

    def mark(self):
        """Later wait_log() calls look only at what is logged after this."""
        self._log_at = len(self.log_text())

    def wait_log(self, pattern, timeout=30, again=False):
        """Wait for a line of the log that PATTERN (a regular expression) is found in; returns the match.

        The next call goes on after that line, unless AGAIN is given. It is an error when the program ends first.
        """
        search = re.compile(pattern, re.MULTILINE)
        found, looked_at = [], [-1]

        def look():
            size = self.log.stat().st_size if self.log.exists() else 0
            if size == looked_at[0]:    # nothing new: long logs are not searched again and again
                return False
            text = self.log_text()
            looked_at[0] = size
            # A line still being written is not matched: the rest of it may change the match.
            match = search.search(text[:text.rfind("\n") + 1], 0 if again else self._log_at)
            if match:
                found.append(match)
                if not again:
                    end = text.find("\n", match.end())
                    self._log_at = len(text) if end < 0 else end + 1
            return bool(match)

        def look_or_end():
            over = self.status
            if look():
                return True
            if over is not None:
                raise LabError(f"{self.name} ended with {over} before it logged /{pattern}/; {self._words()}")
            return False

        self.machine.wait_for(look_or_end, timeout, f"/{pattern}/ in the log of {self.name}", self._words)
        return found[0]


class Machine:
    """L1. Options are the fields of qemu.Options; RESULTS is the host folder that is /lab inside (default: private)."""

    def __init__(self, results=None, **options):
        self.options = qemu.Options(**options)
        self.results = pathlib.Path(results).absolute() if results else None
        self.ended = {}             # job number -> exit event
        self.boot_seconds = None
        self.isolated = False       # rayvm is started with --isolate in it
        self.process = self.qmp = self._agent = None
        self._folder = None
        self._answers, self._events, self._input, self._number = {}, [], b"", 0
        self._pictures = 0

    # -- life

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.quit()

    def prepare(self):
        """Make the private folder and return QEMU's argument list."""
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        if not os.access(base, os.W_OK):
            base = tempfile.gettempdir()
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="rayvm-lab-", dir=base))
        if self.results is None:
            self.results = self._folder / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        return qemu.command(self.options, self._folder, self.results)

    def start(self, timeout=BOOT_TIMEOUT):
        """Boot and wait until programs can be run. A kernel that panics or stands still on the way is QEMU's software CPU's fault now and then: once more, then."""
        private = self.results is None
        try:
            return self._start(timeout)
        except LabError as error:
            panic = PANIC.search(self.serial())
            if not panic and not isinstance(error, LabTimeout):
                raise
            print(f"       -- L1 did not boot, once more: {panic[0] if panic else str(error).splitlines()[0]}", flush=True)
        self.kill()
        self.results = None if private else self.results
        self.process = self.qmp = self._agent = None
        self._answers, self._events, self._input, self._number = {}, [], b"", 0
        return self._start(timeout)

    def _start(self, timeout):
        argv = self.prepare()
        begin = time.monotonic()
        deadline = begin + timeout * host.scale()
        libc = ctypes.CDLL(None)
        with open(self._folder / "qemu.log", "wb") as log:
            streams = {} if self.options.shell else {"stdin": subprocess.DEVNULL, "stdout": log}
            # QEMU must not outlive us, however we end.
            self.process = subprocess.Popen(argv, stderr=log, **streams,
                                            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self._agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._agent.connect(str(self._folder / "agent"))
                break
            except OSError as error:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise LabTimeout(f"QEMU does not open its sockets: {error}{self.last_words()}") from error
                time.sleep(0.02)
        try:
            self.qmp = Qmp(self._folder / "qmp", deadline)
        except LabError as error:
            try:
                self.process.wait(1)    # it may be on its way out, with a message worth more than ours
            except subprocess.TimeoutExpired:
                pass
            self._check_alive()
            raise LabError(f"{error}{self.last_words()}") from error

        def ready():
            if PANIC.search(self.serial()):
                raise LabError(f"L1's kernel panicked{self.last_words()}")
            return any(event["event"] == "ready" for event in self._events)
        self.wait_for(ready, timeout, "L1 to come up")
        self.boot_seconds = time.monotonic() - begin
        return self

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def quit(self):
        """End the machine; disks that are not snapshots are flushed first."""
        if self.alive and self._agent and self.boot_seconds is not None:
            try:
                self.request("sync", timeout=20)
                self.qmp.command("quit", timeout=5)
                self.process.wait(10)
            except (LabError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self):
        """End the machine at once, as if the power went."""
        if self.process:
            self.process.kill()
            self.process.wait()
        if self.qmp:
            self.qmp.close()
        if self._agent:
            self._agent.close()
        if self._folder and self._folder.exists():
            if self.results and self.results != self._folder / "results":
                for name in ("serial.log", "qemu.log"):
                    if (self._folder / name).exists():
                        shutil.copy(self._folder / name, self.results / name)
            shutil.rmtree(self._folder, ignore_errors=True)

    def power_cut(self):
        """Kill QEMU without a word to the inside; the folders stay for a look."""
        self.process.kill()
        self.process.wait()

    def serial(self):
        """The serial console's log up to now."""
        try:
            return (self._folder / "serial.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def last_words(self):
        """What to add to an error message."""
        text = f"\n  end of the serial console:\n{tail(self.serial())}"
        try:
            said = (self._folder / "qemu.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            said = ""
        return text + (f"\n  QEMU said:\n{tail(said, 6)}" if said.strip() else "")

    def _check_alive(self):
        if not self.alive:
            status = self.process.returncode if self.process else "not started"
            raise LabError(f"the machine is gone (QEMU: {status}){self.last_words()}")

    def wait_for(self, condition, timeout, what, details=lambda: "", interval=0.03):
        """Wait until CONDITION() is true; WHAT names it in the error."""
        deadline = time.monotonic() + timeout * host.scale()
        while True:
            if self._agent:
                self.poll()
            if condition():
                return
            self._check_alive()
            if time.monotonic() > deadline:
                more = details()
                raise LabTimeout(f"waited {timeout * host.scale():g} s for {what}" + (f"; {more}" if more else "")
                                 + self.last_words())
            if self._agent:
                self.poll(interval)
            else:
                time.sleep(interval)

    # -- the agent

    def poll(self, seconds=0.0):
        """Take in what the agent has sent, waiting up to SECONDS for something."""
        self._agent.settimeout(max(seconds, 0.0) or 0.0)
        try:
            data = self._agent.recv(1 << 20)
        except (TimeoutError, BlockingIOError):
            return
        except OSError as error:
            raise LabError(f"the agent's connection broke: {error}{self.last_words()}") from error
        if not data:
            time.sleep(0.05)    # QEMU is going away; _check_alive() tells
            return
        self._input += data
        *lines, self._input = self._input.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("event") == "exit":
                self.ended[message["job"]] = message
            elif "event" in message:
                self._events.append(message)
            else:
                self._answers[message["id"]] = message

    def request(self, what, timeout=30, **arguments):
        """One request to the agent; returns its answer. See agent.py for the requests."""
        self._check_alive()
        self._number += 1
        number = self._number
        self._agent.settimeout(timeout * host.scale())
        try:
            self._agent.sendall(json.dumps({"id": number, "do": what, **arguments}).encode() + b"\n")
        except OSError as error:
            raise LabError(f"the agent does not listen: {error}{self.last_words()}") from error
        self.wait_for(lambda: number in self._answers, timeout, f"the agent's answer to '{what}'", interval=0.2)
        answer = self._answers.pop(number)
        if not answer["ok"]:
            raise LabError(f"{what}: {answer['error']}")
        return answer

    # -- programs and files

    def spawn(self, argv, log=None, *, env=None, cwd="/", stdin=None, append=False, tty=None, cgroup=None):
        """Start ARGV inside, in a session of its own, and return a Job.

        LOG: name of a file in the results folder for stdout and stderr. TTY: run it on that terminal ("/dev/tty1") as
        its controlling terminal. CGROUP: put it into this cgroup (below the root; made when missing).
        STDIN: bytes or text it can read.
        """
        if isinstance(stdin, str):
            stdin = stdin.encode()
        answer = self.request(
            "start", argv=[str(word) for word in argv], env=env, cwd=str(cwd), append=append, tty=tty, cgroup=cgroup,
            log=f"/lab/{log}" if log else None,
            stdin_data=base64.b64encode(stdin).decode() if stdin is not None else None)
        job = Job(self, answer["id"], answer["pid"], self.results / log if log else None)
        job.name = os.path.basename(str(argv[0]))
        return job

    def run(self, argv, timeout=60, *, check=False, **options):
        """Run ARGV inside to its end; returns a Result. CHECK: any status but 0 is an error.

        At the deadline the program's process group is killed. OPTIONS as for spawn().
        """
        job = self.spawn(argv, **options)
        try:
            job.wait(timeout)
        except LabTimeout as error:
            so_far = self.request("output", job=job.number)
            job.signal(signal.SIGKILL, group=True)
            words = "".join(f"\n  its {name} so far:\n{tail(self._text(so_far[name]))}"
                            for name in ("stdout", "stderr") if so_far[name])
            raise LabTimeout(f"{' '.join(map(str, argv))}: {error}{words}") from None
        ended = self.ended[job.number]
        result = Result(ended["status"], self._text(ended.get("stdout", "")), self._text(ended.get("stderr", "")))
        if check and result.status:
            raise LabError(f"{' '.join(map(str, argv))}: status {result.status}\n{tail(result.stdout)}\n"
                           f"{tail(result.stderr)}")
        return result

    def sh(self, script, timeout=60, **options):
        """Run a shell script inside; as run()."""
        return self.run(["/bin/sh", "-c", script], timeout, **options)

    @staticmethod
    def _text(encoded):
        return base64.b64decode(encoded).decode(errors="replace")

    def read_file(self, path):
        """The bytes of a file inside (not for large files: use the results folder, /lab)."""
        return base64.b64decode(self.request("read", path=str(path))["data"])

    def put_file(self, path, data, mode=0o644):
        """Write DATA (bytes or text) to a file inside; its folder is made."""
        if isinstance(data, str):
            data = data.encode()
        self.request("put", path=str(path), data=base64.b64encode(data).decode(), mode=mode)

    def exists(self, path):
        return self.request("exists", path=str(path))["exists"]

    def console(self, tty="/dev/tty1"):
        """A virtual terminal's state: {"mode": "text" or "graphics", "keyboard": "xlate", "unicode", "off" ...,
        "active": number of the terminal that is shown}."""
        answer = self.request("console", tty=tty)
        return {name: answer[name] for name in ("mode", "keyboard", "active")}

    def clock(self):
        """L1's CLOCK_MONOTONIC and CLOCK_REALTIME, in seconds."""
        answer = self.request("clock")
        return answer["monotonic"], answer["realtime"]

    # -- keys and pointer

    def _input_events(self, *events):
        self.qmp.command("input-send-event", events=list(events))

    def key(self, name, down):
        """Press (DOWN) or release one key, named KEY_... as evdev does, or as QEMU does."""
        self._input_events({"type": "key", "data": {"down": bool(down),
                                                    "key": {"type": "qcode", "data": keys.qcode(name)}}})

    def press(self, *names, hold=0.03):
        """Press the keys in this order, hold them for HOLD seconds, release them in reverse order."""
        for name in names:
            self.key(name, True)
        time.sleep(hold)
        for name in reversed(names):
            self.key(name, False)

    def type(self, text, pause=0.01):
        """Type TEXT on a US keyboard."""
        for character in text:
            key, shift = keys.keys_of(character)
            if shift:
                self.key("shift", True)
            self.key(key, True)
            self.key(key, False)
            if shift:
                self.key("shift", False)
            time.sleep(pause)

    def move(self, x, y, size=None):
        """Move the tablet to X, Y in pixels of a screen of SIZE (default: the preferred mode)."""
        width, height = size or self.options.size or qemu.default_size(self.options.display)
        scaled = [round(position * TABLET_RANGE / max(1, extent - 1)) for position, extent in ((x, width), (y, height))]
        self._input_events(*({"type": "abs", "data": {"axis": axis, "value": max(0, min(TABLET_RANGE, value))}}
                             for axis, value in zip("xy", scaled)))

    def move_by(self, dx, dy):
        """Move the mouse by so many counts."""
        self._input_events(*({"type": "rel", "data": {"axis": axis, "value": value}}
                             for axis, value in zip("xy", (dx, dy)) if value))

    def button(self, name, down):
        """Press or release a button: left, middle, right, wheel-up, wheel-down, side, extra."""
        self._input_events({"type": "btn", "data": {"down": bool(down), "button": name}})

    def click(self, name="left", hold=0.03):
        self.button(name, True)
        time.sleep(hold)
        self.button(name, False)

    # -- the screen

    def screendump(self, head=0):
        """What a person would see on a head, as a Picture."""
        self._pictures += 1
        path = self._folder / f"screen{self._pictures}.ppm"
        arguments = {"filename": str(path)}
        if self.options.display != "none":
            arguments.update(device="display0", head=head)
        self.qmp.command("screendump", **arguments)
        try:
            return Picture.from_ppm(path.read_bytes())
        finally:
            path.unlink(missing_ok=True)

    def still(self):
        """A screendump of a moment. QEMU writes it while the machine runs on, from the card's own memory where it shows that: frames later it has others in it."""
        self.qmp.command("stop")
        try:
            return self.screendump()
        finally:
            self.qmp.command("cont")

    def burst(self, count, interval=0.0):
        """COUNT screendumps one after the other, as fast as possible or INTERVAL seconds apart."""
        pictures = []
        for _ in range(count):
            begin = time.monotonic()
            pictures.append(self.screendump())
            time.sleep(max(0.0, interval - (time.monotonic() - begin)))
        return pictures

    def wait_screen(self, accept, timeout=20, what="the screen to look right", interval=0.05, head=0):
        """Wait until ACCEPT(picture of that head) is true; returns that picture."""
        seen = []

        def look():
            seen[:] = [self.screendump(head=head)]
            return accept(seen[0])

        def keep():
            path = self.results / "wait_screen-failed.png"
            seen[0].save(path)
            return f"the last picture is {path}"

        self.wait_for(look, timeout, what, keep, interval)
        return seen[0]

    # -- hardware that comes and goes

    def resize_head(self, head, width, height):
        """Plug a head of virtio-vga in with this preferred size, or give it another; 0, 0 unplugs it."""
        rfb.set_desktop_size(self._folder / f"vnc{head}", width, height)

    # -- the hardware cursor, which is not in pictures of the screen

    def cursor_plane(self):
        """Where the kernel has a picture on the cursor plane: its top left corner (x, y), or None while it shows nothing or there is no such plane."""
        state = self.read_file("/sys/kernel/debug/dri/0/state").decode()
        found = [re.search(r"^\tcrtc-pos=64x64([+-]\d+)([+-]\d+)$", plane, re.MULTILINE) for plane in re.split(r"^(?=plane\[)", state, flags=re.MULTILINE)
                 if plane.startswith("plane[") and not re.search(r"^\tfb=0$", plane, re.MULTILINE)]
        places = [(int(place[1]), int(place[2])) for place in found if place]
        return places[0] if places else None

    def cursor(self):
        """What virtio-vga was told to show there: hot x, hot y, width, height, RGBA bytes."""
        return rfb.cursor(self._folder / "vnc0")

    def device_add(self, driver, identity, **properties):
        """Plug in a device, for instance device_add("usb-kbd", "kbd1"). USB devices go to the xHCI controller."""
        if driver.startswith("usb-"):
            properties.setdefault("bus", "xhci.0")
        self.qmp.command("device_add", driver=driver, id=identity, **properties)

    def device_del(self, identity, timeout=30):
        """Unplug a device and wait until it is gone."""
        self.qmp.command("device_del", id=identity)
        self.qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == identity, timeout * host.scale())
