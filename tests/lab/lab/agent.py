# SPDX-License-Identifier: MIT
"""The lab's hand inside L1: its first process, or a service of systemd. Obeys JSON lines on a virtio serial port.

Request {"id": N, "do": NAME, ...} -> {"id": N, "ok": true, ...} or {"id": N, "ok": false, "error": TEXT}. The end of a
started program is told as {"event": "exit", "job": N, "status": S}, S as in subprocess: an exit status, or minus the
signal. One thread, one poll loop. Imports stay few: start-up counts under a software CPU.
"""

import base64
import fcntl
import json
import os
import select
import signal
import struct
import sys
import termios
import time

PORT_NAME = "org.rayvm.lab"
# linux/kd.h, linux/vt.h
KDGETMODE, KDGKBMODE, VT_GETSTATE = 0x4B3B, 0x4B44, 0x5603
KVM_CREATE_VM = 0xAE01  # linux/kvm.h
DISPLAY_MODES = {0: "text", 1: "graphics"}
KEYBOARD_MODES = {0: "raw", 1: "xlate", 2: "mediumraw", 3: "unicode", 4: "off"}
KEEP = 4 << 20      # bytes of captured output that are handed over, from the end
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "TERM": "linux", "LANG": "C.UTF-8", "USER": "root", "LOGNAME": "root", "XDG_RUNTIME_DIR": "/run/user/0"}
RESET = (signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)


def say(text):
    with open("/dev/kmsg", "w", encoding="utf-8") as log:
        log.write(f"lab: {text}\n")


def hold_kvm():
    """Keep a virtual machine open for L1's whole life; returns its descriptors, or None without KVM.

    The first VM of a machine and the last one to go switch KVM on and off: the kernel patches code of its scheduler that
    runs at that moment (the preempt notifiers' static key). QEMU's software CPU does not always survive that. So it
    happens once, while nothing else runs yet.
    """
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        return kvm, fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    except OSError:
        return None


def find_port(seconds=20):
    """Open the serial port the host talks on."""
    end = time.monotonic() + seconds
    while True:
        try:
            for port in os.listdir("/sys/class/virtio-ports"):
                with open(f"/sys/class/virtio-ports/{port}/name", encoding="utf-8") as name:
                    if name.read().strip() == PORT_NAME:
                        return os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            pass
        if time.monotonic() > end:
            raise RuntimeError("no serial port to the host")
        time.sleep(0.05)


class Job:
    """A program that was started. `capture` is where its output goes when the host wants it back."""

    def __init__(self, number, pid, capture):
        self.number, self.pid, self.capture = number, pid, capture


class Agent:
    def __init__(self):
        self.port = None
        self.kvm = None
        self.jobs = {}      # pid -> Job
        self.on_exit = {}   # pid -> callable(status), for the agent's own children
        self.input = b""

    # -- starting programs

    def fork(self, argv, *, environment=None, cwd="/", stdin="/dev/null", stdout=None, stderr=None, append=False,
             tty=None, cgroup=None):
        """Start ARGV in a session of its own; returns the pid. Raises OSError when it cannot be executed."""
        merged = dict(ENVIRONMENT, **(environment or {}))
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            doing = argv[0]
            try:
                for number in RESET:
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                os.setsid()
                if cgroup:
                    os.makedirs(f"/sys/fs/cgroup/{cgroup}", exist_ok=True)
                    with open(f"/sys/fs/cgroup/{cgroup}/cgroup.procs", "w", encoding="utf-8") as procs:
                        procs.write("0")
                if tty:
                    terminal = os.open(tty, os.O_RDWR)
                    fcntl.ioctl(terminal, termios.TIOCSCTTY, 1)
                    for fd in range(3):
                        os.dup2(terminal, fd)
                else:
                    os.dup2(os.open(stdin, os.O_RDONLY), 0)
                kind = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
                if stdout:
                    os.dup2(os.open(stdout, kind, 0o644), 1)
                if stderr:
                    os.dup2(1 if stderr == stdout else os.open(stderr, kind, 0o644), 2)
                doing = f"going to {cwd}"
                os.chdir(cwd)
                doing = argv[0]
                os.execvpe(argv[0], argv, merged)
            except OSError as error:
                os.write(write_end, f"{error.errno} {doing}: {error.strerror}".encode())
            finally:
                os._exit(127)
        os.close(write_end)
        failure = os.read(read_end, 200).decode()
        os.close(read_end)
        if failure:
            os.waitpid(pid, 0)
            number, text = failure.split(" ", 1)
            raise OSError(int(number), text)
        return pid

    def start(self, request):
        number = request["id"]
        capture = None
        if request.get("stdin_data") is not None:
            request["stdin"] = f"/run/lab/job-{number}.in"
            with open(request["stdin"], "wb") as file:
                file.write(base64.b64decode(request["stdin_data"]))
        stdout, stderr = request.get("log"), request.get("log")
        if not stdout and not request.get("tty"):
            capture = (f"/run/lab/job-{number}.out", f"/run/lab/job-{number}.err")
            stdout, stderr = capture
        pid = self.fork(request["argv"], environment=request.get("env"), cwd=request.get("cwd") or "/",
                        stdin=request.get("stdin") or "/dev/null", stdout=stdout, stderr=stderr,
                        append=bool(request.get("append")), tty=request.get("tty"), cgroup=request.get("cgroup"))
        self.jobs[pid] = Job(number, pid, capture)
        return {"pid": pid}

    @staticmethod
    def tail(path):
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - KEEP))
                return base64.b64encode(file.read()).decode()
        except OSError:
            return ""

    def reap(self):
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            if pid in self.on_exit:
                self.on_exit.pop(pid)(status)
            job = self.jobs.pop(pid, None)
            if job:
                event = {"event": "exit", "job": job.number, "status": status}
                if job.capture:
                    event["stdout"], event["stderr"] = (self.tail(path) for path in job.capture)
                    for path in job.capture:
                        os.unlink(path)
                self.send(event)

    # -- the other requests

    def output(self, request):
        """What a job has written up to now."""
        for job in self.jobs.values():
            if job.number == request["job"] and job.capture:
                return {"stdout": self.tail(job.capture[0]), "stderr": self.tail(job.capture[1])}
        return {"stdout": "", "stderr": ""}

    @staticmethod
    def signal(request):
        (os.killpg if request.get("group") else os.kill)(request["pid"], request["signal"])
        return {}

    @staticmethod
    def read(request):
        with open(request["path"], "rb") as file:
            return {"data": base64.b64encode(file.read()).decode()}

    @staticmethod
    def put(request):
        folder = os.path.dirname(request["path"])
        if folder:
            os.makedirs(folder, exist_ok=True)
        fd = os.open(request["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, request.get("mode", 0o644))
        with os.fdopen(fd, "wb") as file:
            file.write(base64.b64decode(request["data"]))
        os.chmod(request["path"], request.get("mode", 0o644))
        return {}

    @staticmethod
    def exists(request):
        return {"exists": os.path.lexists(request["path"])}

    @staticmethod
    def clock(_request):
        """The clocks key events and page flips are stamped with, in seconds."""
        return {"monotonic": time.monotonic(), "realtime": time.time()}

    @staticmethod
    def console(request):
        """The state of a virtual terminal, and which one is shown."""
        fd = os.open(request["tty"], os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            mode, keyboard, state = bytearray(4), bytearray(4), bytearray(6)
            for number, data in ((KDGETMODE, mode), (KDGKBMODE, keyboard), (VT_GETSTATE, state)):
                fcntl.ioctl(fd, number, data)
        finally:
            os.close(fd)
        mode, keyboard = struct.unpack("i", mode)[0], struct.unpack("i", keyboard)[0]
        return {"mode": DISPLAY_MODES.get(mode, str(mode)), "keyboard": KEYBOARD_MODES.get(keyboard, str(keyboard)),
                "active": struct.unpack("HHH", state)[0]}

    @staticmethod
    def sync(_request):
        os.sync()
        return {}

    # -- the loop

    def send(self, message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.port, data):]

    def obey(self, line):
        request = json.loads(line)
        handlers = {"start": self.start, "output": self.output, "signal": self.signal, "read": self.read,
                    "put": self.put, "exists": self.exists, "clock": self.clock, "console": self.console, "sync": self.sync}
        answer = {"id": request["id"], "ok": True}
        try:
            answer.update(handlers[request["do"]](request))
        except (OSError, KeyError, ValueError, TypeError) as error:
            answer = {"id": request["id"], "ok": False, "error": f"{type(error).__name__}: {error}",
                      "errno": getattr(error, "errno", None)}
        self.send(answer)

    def loop(self):
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.port, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            self.reap()
            for fd, events in poll.poll(1000):
                if fd == wake_read:
                    os.read(wake_read, 4096)
                elif events & select.POLLIN:
                    self.input += os.read(self.port, 65536)
                    while b"\n" in self.input:
                        line, self.input = self.input.split(b"\n", 1)
                        self.obey(line)
                elif events & select.POLLHUP:
                    time.sleep(0.1)     # the host is not listening

    # -- bringing the machine up

    def devices(self):
        """Start udevd, so that libinput finds its devices tagged, and wait until it has seen them all."""
        for path in ("/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd"):
            if os.path.exists(path):
                break
        else:
            say("no systemd-udevd: libinput will see no devices (run tools/install-deps)")
            return
        if not os.path.exists("/run/udev/control"):     # systemd has started its own
            self.fork([path], stdout="/run/lab/udevd.log", stderr="/run/lab/udevd.log")
        end = time.monotonic() + 20
        while not os.path.exists("/run/udev/control") and time.monotonic() < end:
            time.sleep(0.02)
        for argv in (["udevadm", "trigger", "--action=add", "--subsystem-match=input", "--subsystem-match=drm",
                      "--subsystem-match=graphics", "--subsystem-match=tty", "--subsystem-match=misc",
                      "--subsystem-match=block"],
                     ["udevadm", "settle", "--timeout=30"]):
            os.waitpid(self.fork(argv, stdout="/run/lab/udevadm.log", stderr="/run/lab/udevadm.log"), 0)

    def shell(self, tty, size):
        """A shell for a person on TTY, a terminal of SIZE ("ROWSxCOLUMNS"); the machine ends with it."""
        def over(_status):
            os.sync()
            with open("/proc/sysrq-trigger", "w", encoding="utf-8") as trigger:
                trigger.write("o")
        with open(tty, "rb") as terminal:
            rows, columns = (int(number) for number in size.split("x"))
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        pid = self.fork(["/bin/bash", "-l"], environment={"TERM": "vt220"}, tty=tty)
        self.on_exit[pid] = over


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-Alt-Delete reaches the first process as SIGINT
    os.umask(0o022)
    with open("/proc/cmdline", encoding="utf-8") as file:
        words = dict(word.partition("=")[::2] for word in file.read().split())
    agent = Agent()
    agent.kvm = hold_kvm()
    agent.port = find_port()
    say("agent is up")
    if words.get("lab.udev") != "0":
        agent.devices()
    with open("/proc/uptime", encoding="utf-8") as file:
        uptime = float(file.read().split()[0])
    try:
        with open("/dev/tty1", "w", encoding="utf-8") as console:
            console.write("\nrayvm lab: this is L1's text console (tty1)\n")
    except OSError:
        pass
    say("ready")
    agent.send({"event": "ready", "uptime": uptime})
    if words.get("lab.shell"):
        agent.shell(words["lab.shell"], words.get("lab.tty", "24x80"))
    agent.loop()


if __name__ == "__main__":
    sys.exit(main())
