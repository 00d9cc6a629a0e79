# SPDX-License-Identifier: MIT
"""`--isolate`: the machine's process dies in every way there is, and the panel lives. Beside it, what the one process does in the same case."""

import re
import signal
import time

from lab import desktop, paths
from lab.errors import Skip
from lab.rayvm import SOCKET, Rayvm, console_state, guest_files, is_ui, measure_toggles, tiny

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 2560}
K_OFF = 4
MIB = 1 << 20
state = {}


def arguments(memory="256M", extra=(), options=""):
    files = guest_files("make-tiny")
    return ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", memory, "-s", "1", "-d", "mem:16M", "--isolate",
            "-a", f"console=ttyS0 quiet loglevel=3 {options}", "--serial", "file:/lab/guest.log", *extra]


def shared(machine):
    """The run that most tests share; another one after a failed test."""
    if "rayvm" not in state:
        state["rayvm"] = Rayvm(machine, arguments())
        state["ui"] = state["rayvm"].ready()
        state["rayvm"].wait("vm:running", 60)
    return state["rayvm"]


def own(machine, *words, **options):
    """A run for one test, which ends the shared one: they would have one screen, and one name each process."""
    if "rayvm" in state:
        state.pop("rayvm").job.stop()
    return Rayvm(machine, *words, **options)


def recover(machine):
    """After a failed test no process of rayvm's is left, and the screen is the console's: the seat's helper gives it back, so it is not killed."""
    rayvm = state.pop("rayvm", None)
    for pid in ([rayvm.job.pid] if rayvm and rayvm.job.status is None else []) + pids(machine, "rayvm-spawner") + pids(machine, "rayvm-machine"):
        machine.sh(f"kill -9 {pid}")
    machine.wait_for(lambda: not machine.sh("pgrep rayvm").stdout and console_state(machine)[0], 20, "the end of all of rayvm",
                     lambda: machine.sh("ps axl").stdout, 0.3)
    machine.sh(f"rm -f {SOCKET}")


def pids(machine, name):
    return [int(pid) for pid in machine.sh(f"pgrep -x {name}").stdout.split()]


def process(machine, name):
    found = pids(machine, name)
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def kill_machine(machine, number=signal.SIGKILL):
    machine.sh(f"kill -{int(number)} {process(machine, 'rayvm-machine')}", check=True)


def running(rayvm):
    if rayvm.status()["vm"] != "running":
        rayvm.ctl("vm", "start")
        rayvm.wait("vm:running", 20)


def boots(machine):
    path = machine.results / "guest.log"
    return path.read_text(errors="replace").count("TINY:READY") if path.exists() else 0


def vm_line(rayvm):
    return rayvm.status()["lines"]["vm"]["text"]


def is_placeholder(picture):
    return desktop.is_placeholder(picture, state["ui"]) and not tiny(picture)


def show_guest(machine, timeout=20):
    machine.press("KEY_F11")
    return machine.wait_screen(tiny, timeout, "the guest's picture")


def descriptors(machine, pid):
    return machine.sh(f"ls /proc/{pid}/fd | wc -l; ls -l /proc/{pid}/fd").stdout.split("\n", 1)


def memory_kib(machine, pid, field="Pss"):
    return int(re.search(rf"^{field}:\s+(\d+)", machine.sh(f"cat /proc/{pid}/smaps_rollup", check=True).stdout, re.MULTILINE)[1])


def test_panel_holds_nothing_it_could_change_the_guest_with(machine):
    rayvm = shared(machine)
    panel, child = rayvm.job.pid, process(machine, "rayvm-machine")
    maps = [line for line in machine.read_file(f"/proc/{panel}/maps").decode().splitlines() if "guest-ram" in line]
    assert maps and all(line.split()[1] == "r--s" for line in maps), maps
    helpers = [pid for pid in map(int, machine.sh(f"cat /proc/{panel}/task/*/children").stdout.split())
               if pid != process(machine, "rayvm-spawner")]
    assert len(helpers) == 1, f"the seat's helper: {helpers}"
    for pid in (panel, *helpers):
        held = machine.sh(f"ls -l /proc/{pid}/fd", check=True).stdout
        assert not re.search(r"guest-ram|/dev/kvm|kvm-v|vmlinuz|initrd|memfd:disk|guest\.log", held), f"{pid} holds\n{held}"
    scores = [int(machine.read_file(f"/proc/{pid}/oom_score_adj").decode()) for pid in (panel, child)]
    assert scores[1] >= scores[0] + 500, scores
    assert "Seccomp:\t2" in machine.read_file(f"/proc/{child}/status").decode()


def test_killed_while_it_is_shown(machine):
    rayvm = shared(machine)
    show_guest(machine, 120)
    rayvm.marker("FIRST_FRAME", 20)
    kill_machine(machine)
    rayvm.wait("vm:crashed", 10)
    machine.wait_screen(is_placeholder, 10, "the placeholder").save(machine.results / "crashed.png")
    assert "signal 9" in vm_line(rayvm), vm_line(rayvm)
    status = rayvm.status()
    assert status["presentation"] == "presented" and status["scanout"]["width"] == 0, status
    rayvm.ctl("screenshot", "/dev/shm/guest.png", "--face", "guest", check=False)
    assert not machine.exists("/dev/shm/guest.png"), "a dead guest has no picture"


def test_toggles_go_on_without_a_machine(machine):
    rayvm = shared(machine)
    if rayvm.status()["vm"] != "crashed":
        kill_machine(machine)
        rayvm.wait("vm:crashed", 10)
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 10, "the UI")
    machine.type("ab")      # keys for the UI, and then for a guest that is not there
    rayvm.ctl("press", "--guest", "KEY_A")
    measure_toggles(machine, rayvm)
    assert rayvm.status()["vm"] == "crashed", "a show request does not start a VM that crashed"


def test_reset_brings_it_back(machine):
    rayvm, before = shared(machine), boots(machine)
    machine.press("KEY_F11")
    rayvm.ctl("vm", "reset")
    machine.wait_for(lambda: boots(machine) > before, 120, "the next guest")
    machine.wait_screen(tiny, 20, "its picture").save(machine.results / "back.png")
    rayvm.marker("FIRST_FRAME", 20)
    stats = rayvm.stats(reset=True)
    time.sleep(3)
    stats = rayvm.stats()
    assert stats["frames_presented"] >= 5, f"the new guest's frames are not paced by the panel: {stats}"


def test_dies_and_comes_back_20_times_and_nothing_is_left(machine):
    rayvm = shared(machine)
    running(rayvm)
    panel, spawner = rayvm.job.pid, process(machine, "rayvm-spawner")
    seen = []
    for number in range(20):
        time.sleep((0, 0.05, 0.3, 1)[number % 4])   # while it loads, starts, runs
        kill_machine(machine, (signal.SIGKILL, signal.SIGSEGV)[number % 2])
        rayvm.wait("vm:crashed", 10)
        time.sleep(0.5)         # the worker lets go of the dead one's memory
        if number in (1, 19):
            seen.append((descriptors(machine, panel), descriptors(machine, spawner), memory_kib(machine, panel), memory_kib(machine, spawner)))
        rayvm.ctl("vm", "start")
        rayvm.wait("vm:running", 20)
    first, last = seen
    print(f"         panel {first[0][0]} descriptors, {first[2]} KiB; after 18 deaths more {last[0][0]}, {last[2]} KiB; "
          f"spawner {first[1][0]}, {first[3]} KiB; {last[1][0]}, {last[3]} KiB", flush=True)
    assert last[0][0] == first[0][0], f"{first[0][1]}\n{last[0][1]}"
    assert last[1][0] == first[1][0], f"{first[1][1]}\n{last[1][1]}"
    assert last[2] <= first[2] + 1024 and last[3] <= first[3] + 256, seen
    assert len(pids(machine, "rayvm-machine")) == 1


def nothing_of_it_is_left(machine, rayvm, kept):
    """The process is gone, and its memory with the panel's view of it. KEPT: descriptors of panel and spawner without a machine, when known."""
    machine.wait_for(lambda: not pids(machine, "rayvm-machine"), 10, "the end of the process", lambda: machine.sh("ps axl").stdout, 0.1)
    panel, spawner = rayvm.job.pid, process(machine, "rayvm-spawner")
    assert not machine.sh(f"cat /proc/{spawner}/task/*/children", check=True).stdout.split(), machine.sh("ps axl").stdout
    machine.wait_for(lambda: "guest-ram" not in machine.sh(f"cat /proc/{panel}/maps /proc/{spawner}/maps; ls -l /proc/{panel}/fd /proc/{spawner}/fd").stdout, 10,
                     "the panel lets go of the guest's memory", interval=0.2)
    held = [int(descriptors(machine, pid)[0]) for pid in (panel, spawner)]
    assert held == (kept or held), (held, kept, descriptors(machine, panel)[1])
    return held


def test_switched_off_has_no_process(machine):
    rayvm, kept = shared(machine), None
    said = len(rayvm.job.log_text())
    machine.press("KEY_F12")
    for command, words in (("stop", "switched off by command"), ("powerdown", "the guest powered off"), ("stop", "switched off by command")):
        running(rayvm)
        before = boots(machine)
        old = process(machine, "rayvm-machine")
        rayvm.ctl("vm", command)        # the second one is for a guest that has booted
        rayvm.wait("vm:stopped", 30)
        kept = nothing_of_it_is_left(machine, rayvm, kept)
        assert vm_line(rayvm) == f"stopped: {words}", vm_line(rayvm)
        for idle in ("stop", "pause", "reset"):
            rayvm.ctl("vm", idle)
        time.sleep(0.5)
        assert rayvm.status()["vm"] == "stopped" and not pids(machine, "rayvm-machine")
        rayvm.ctl("vm", "start")
        machine.wait_for(lambda count=before: boots(machine) > count, 60, "the whole next guest")
        assert process(machine, "rayvm-machine") != old
    rayvm.ctl("vm", "stop")
    rayvm.wait("vm:stopped", 20)
    rayvm.ctl("vm", "start")            # at once, while the last process may still be there
    rayvm.wait("vm:running", 20)
    rayvm.ctl("vm", "stop")
    rayvm.wait("vm:stopped", 20)
    nothing_of_it_is_left(machine, rayvm, kept)
    log = rayvm.job.log_text()[said:]
    assert "killed" not in log, log
    before = boots(machine)
    show_guest(machine, 120)            # showing starts a VM that was stopped
    machine.wait_for(lambda: boots(machine) > before, 60, "the whole guest")
    rayvm.ctl("vm", "pause")
    kill_machine(machine)
    rayvm.wait("vm:crashed", 10)


def test_machine_that_hangs_is_killed_for_a_stop(machine):
    rayvm = shared(machine)
    running(rayvm)
    machine.sh(f"kill -STOP {process(machine, 'rayvm-machine')}", check=True)
    rayvm.ctl("vm", "stop")
    rayvm.wait("vm:stopped", 40)
    nothing_of_it_is_left(machine, rayvm, None)
    assert "does not answer" in rayvm.job.log_text() and "signal 9" in vm_line(rayvm), vm_line(rayvm)
    rayvm.ctl("vm", "start")
    rayvm.wait("vm:running", 20)


def test_guest_that_crashes_by_itself_leaves_no_process(machine):
    with own(machine, arguments(options="tiny.exit=reboot reboot=triple tiny.after=2"), log="triple.log") as rayvm:
        state["ui"] = rayvm.ready()
        rayvm.wait("vm:crashed", 120)
        nothing_of_it_is_left(machine, rayvm, None)
        assert rayvm.status()["vm"] == "crashed" and "process" not in vm_line(rayvm), vm_line(rayvm)
        rayvm.ctl("vm", "reset")
        rayvm.wait("vm:running", 20)
        assert rayvm.quit() == 0


def test_machine_that_hangs_is_killed_for_a_reset(machine):
    rayvm = shared(machine)
    running(rayvm)
    hung = process(machine, "rayvm-machine")
    machine.sh(f"kill -STOP {hung}", check=True)
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 10, "the UI")
    rayvm.ctl("vm", "reset")
    machine.wait_for(lambda: pids(machine, "rayvm-machine") not in ([], [hung]), 40, "another process")
    rayvm.wait("vm:running", 20)
    assert "does not answer" in rayvm.job.log_text()


def test_without_the_spawner_there_is_still_a_panel(machine):
    rayvm = shared(machine)
    running(rayvm)
    machine.sh(f"kill -9 {process(machine, 'rayvm-spawner')}", check=True)
    rayvm.wait("vm:crashed", 10)
    machine.wait_for(lambda: not pids(machine, "rayvm-machine"), 10, "the end of the machine's process")
    rayvm.ctl("vm", "start")
    machine.wait_for(lambda: "restart rayvm" in vm_line(rayvm), 10, "the remedy", lambda: vm_line(rayvm))
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 10, "the UI")
    machine.press("KEY_F11")
    machine.wait_screen(is_placeholder, 10, "the placeholder")
    assert state.pop("rayvm").quit() == 0, rayvm.job.log_text()[-2000:]
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)


def test_nobody_is_left_when_the_panel_is_killed(machine):
    with own(machine, arguments(), log="orphans.log") as rayvm:
        rayvm.ready()
        assert pids(machine, "rayvm-machine") and pids(machine, "rayvm-spawner")
        rayvm.job.signal(signal.SIGKILL)
        rayvm.job.wait(20)
    machine.wait_for(lambda: not machine.sh("pgrep rayvm").stdout, 10, "the end of the others, and of the seat's helper")
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)


def test_out_of_memory_ends_the_machine_and_not_the_panel(machine):
    """H3: the guest touches all of its RAM where there is less. Panel and machine share one group, and one limit."""
    group = "/sys/fs/cgroup/rayvm-oom"
    machine.sh(f"echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p {group} && echo {400 * MIB} > {group}/memory.max", check=True)
    with own(machine, arguments("1G", options="tiny.exit=eat tiny.after=20"), log="oom.log", cgroup="rayvm-oom") as rayvm:
        state["ui"] = rayvm.ready()
        show_guest(machine, 120)
        rayvm.wait("vm:crashed", 120)
        machine.wait_screen(is_placeholder, 10, "the placeholder").save(machine.results / "oom.png")
        assert "out of memory" in vm_line(rayvm), vm_line(rayvm)
        events = dict(line.split() for line in machine.read_file(f"{group}/memory.events").decode().splitlines())
        assert int(events["oom_kill"]) >= 1, events
        left = int(machine.read_file(f"{group}/memory.current").decode())
        print(f"         {events}; {left // MIB} MiB left in the group", flush=True)
        assert left < 250 * MIB, "the dead guest's memory did not come back"
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 10, "the UI")
        machine.press("KEY_F11")
        rayvm.ctl("vm", "reset")        # the same spawner makes another
        machine.wait_screen(tiny, 120, "the next guest's picture").save(machine.results / "after-oom.png")
        assert rayvm.quit() == 0


def test_out_of_memory_without_isolation_is_one_clear_end(machine):
    """H3: panel and machine are one process, which the kernel ends; the console is back, and nothing of rayvm is left."""
    if machine.isolated:
        raise Skip("it is about one process")
    group = "/sys/fs/cgroup/rayvm-oom-one"
    machine.sh(f"echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p {group} && echo {300 * MIB} > {group}/memory.max", check=True)
    one = [word for word in arguments("1G", options="tiny.exit=eat tiny.after=5") if word != "--isolate"]
    with own(machine, one, log="oom-one.log", cgroup="rayvm-oom-one") as rayvm:
        state["ui"] = rayvm.ready()
        show_guest(machine, 120)
        assert console_state(machine) == (False, K_OFF)
        assert rayvm.job.wait(120) == -signal.SIGKILL, rayvm.job.log_text()[-1500:]
    events = dict(line.split() for line in machine.read_file(f"{group}/memory.events").decode().splitlines())
    assert int(events["oom_kill"]) == 1, f"another one than the program was killed, too: {events}"
    machine.wait_for(lambda: console_state(machine)[0] and console_state(machine)[1] != K_OFF, 10, "text mode and a keyboard", interval=0.3)
    machine.wait_for(lambda: not machine.sh("pgrep rayvm").stdout, 10, "the end of the seat's helper", lambda: machine.sh("ps axl").stdout)


test_out_of_memory_without_isolation_is_one_clear_end.suite = "all"     # the one of a machine apart is for each change


def test_accesses_to_nothing_leave_the_display_alone(machine):
    """I7: all CPUs touch ports and memory that nobody has, as fast as they can; toggles are held to the bound they are always held to."""
    def rounds():
        path = machine.results / "nobody.log"
        said = path.read_text() if path.exists() else ""
        return said.count("m"), said.count("p")

    with own(machine, ["-k", paths.built("tests/payload/nobody"), "-m", "64M", "-s", "2", "--serial", "file:/lab/nobody.log"], log="nobody-rayvm.log") as rayvm:
        rayvm.ready()
        machine.wait_for(lambda: min(rounds()) > 0, 60, "accesses of both kinds", lambda: f"{rounds()}\n{rayvm.job.log_text()[-1500:]}")
        before, begin = rounds(), time.monotonic()
        measure_toggles(machine, rayvm)
        seconds = time.monotonic() - begin
        memory, ports = ((after - earlier) * 256 / seconds for earlier, after in zip(before, rounds()))
        print(f"         rounds a second meanwhile: {memory:.0f} of accesses to memory, {ports:.0f} to ports", flush=True)
        assert memory > 100 and ports > 100, "the guest was stopped, or waits for something"
        assert rayvm.status()["vm"] == "running"
        assert rayvm.quit() == 0


def test_policies(machine):
    for options, status in ((["--on-crash", "restart"], None), (["--on-crash", "exit"], 1),
                            (["--display", "none", "--on-crash", "restart"], None), (["--display", "none"], 1)):
        with own(machine, arguments(extra=options), log="policy.log") as rayvm:
            rayvm.listening()
            rayvm.wait("vm:running", 60)
            old = pids(machine, "rayvm-machine")
            kill_machine(machine)
            if status is None:
                machine.wait_for(lambda killed=old: pids(machine, "rayvm-machine") not in ([], killed), 10, "another machine")
                rayvm.wait("vm:running", 20)
                rayvm.ctl("quit")
            assert rayvm.job.wait(30) == (status or 0), f"{options}: {rayvm.job.log_text()[-1500:]}"
    assert not pids(machine, "rayvm-machine") and not pids(machine, "rayvm-spawner")


def test_failures_of_the_start_are_told_as_ever(machine):
    """One line and the status, though another process found out, and before the screen is touched."""
    base = arguments()
    kernel = base.index("-k") + 1
    for change, status, words in ((lambda a: a.__setitem__(kernel, "/nonexistent"), 2, "/nonexistent"),
                                  (lambda a: a.extend(["-d", "/nonexistent.img"]), 2, "/nonexistent.img"),
                                  (lambda a: a.extend(["--serial", "file:/nonexistent/x"]), 2, "/nonexistent/x")):
        wrong = list(base)
        change(wrong)
        with own(machine, wrong, log="wrong.log") as rayvm:
            assert rayvm.job.wait(30) == status, rayvm.job.log_text()
        lines = rayvm.job.log_text().splitlines()
        assert len(lines) == 1 and lines[0].startswith("rayvm: ") and words in lines[0], lines
        assert not pids(machine, "rayvm-spawner")
