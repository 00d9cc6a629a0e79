# SPDX-License-Identifier: MIT
"""Console, agent port, random numbers, clock, network and disk of a stock guest with a login on hvc0, and what comes of broken rings."""

import json
import re
import shlex
import time

from lab import paths, rings
from lab.rayvm import guest_files

DISPLAYS = ("none",)
ISOLATED_ALL = ("none",)    # one more start of its guest; scene_isolated.py is for each change
MACHINE = {"memory": 2048}
SOCKET = "/run/devices.sock"
DISK = "/run/devices.img"
TAP, HOST, GUEST = "tap7", "10.7.0.1", "10.7.0.2"
READ_DISK = "dd if=/dev/vda bs=65536 iflag=direct 2>/dev/null"     # not the guest's page cache
NEEDS_RESET, WORKING = 0x40, 0x0f                                   # device status: virtio 1.2, section 2.1
state = {}


def ctl(machine, *words):
    return machine.run([str(paths.built("src/rayvmctl")), "-s", SOCKET, *words], timeout=60)


def status(machine):
    return json.loads(ctl(machine, "status", "--json").stdout)


def talk(machine, port, text, until, timeout=60):
    """Types TEXT on PORT, stays until the pattern UNTIL was seen, returns what was said meanwhile."""
    state["talks"] = state.get("talks", 0) + 1
    ears = f"/run/said-{state['talks']}"
    job = machine.spawn(["/bin/sh", "-c", f"(printf %s {shlex.quote(text)}; exec sleep 600) | "
                         f"{paths.built('src/rayvmctl')} -s {SOCKET} console {port} >{ears}"], log=f"talk-{port}.log")
    try:
        machine.wait_for(lambda: re.search(until, said(machine, ears)), timeout, f"/{until}/ on {port}",
                         lambda: f"it said:\n{said(machine, ears)[-1500:]}\nrayvm said:\n{state['rayvm'].log_text()[-2000:]}", interval=0.3)
        return said(machine, ears)
    finally:
        job.signal(15, group=True)
        job.wait(20)


def said(machine, path):
    return machine.sh(f"cat {path} 2>/dev/null; true").stdout.replace("\r", "")


def log_in(machine):
    talk(machine, "hvc0", "", r"login:", 120)
    talk(machine, "hvc0", "root\n", r"/root # ", 60)
    state["logged_in"] = True


def shell(machine, command, timeout=60):
    """Runs a command in the guest, in the shell that somebody logged into on hvc0; what it printed."""
    if not state["logged_in"]:      # in a machine that was started anew in the midst of the scene
        log_in(machine)
    state["number"] = state.get("number", 0) + 1
    number = state["number"]
    heard = talk(machine, "hvc0", f"echo B''EGIN{number}; {command}; echo E''ND{number} $?\n", rf"END{number} \d+", timeout)
    output = re.search(rf"BEGIN{number}\n(.*?)END{number} (\d+)", heard, re.DOTALL)
    assert output, heard[-1500:]
    assert output[2] == "0", f"{command}: status {output[2]}\n{output[1]}"
    return output[1]


def setup(machine):
    state["logged_in"] = False
    machine.sh(f"modprobe tun; ip tuntap add {TAP} mode tap; ip addr add {HOST}/24 dev {TAP}; ip link set {TAP} up", check=True)
    machine.sh(f"head -c 4194304 /dev/urandom >{DISK}", check=True)
    files = guest_files("make-devices")
    arguments = [paths.built("src/rayvm"), "--display", "headless", "--mode", "640x480", "--outputs", "extend", "--serial", "none", "--control", SOCKET, "--shutdown-timeout", "0", "-m", "256M", "-s", "1",
                 "-k", files["vmlinuz"].replace("vmlinuz", "vmlinux"), "-i", files["initrd"], "-a", "console=ttyS0 console=hvc0 cryptomgr.notests",
                 "--net", f"tap={TAP}", "-d", DISK, *(["--isolate"] if machine.isolated else [])]
    state["rayvm"] = machine.spawn(arguments, log="devices.log")
    machine.wait_for(lambda: machine.exists(SOCKET), 30, "the control socket", state["rayvm"].log_text)


def test_com1_has_the_kernels_messages(machine):
    """What was said before anybody attached, as far as the backlog holds, and what follows."""
    heard = talk(machine, "com1", "", r"Run /init as init process", 120)
    assert "Linux version" in heard or len(heard) > 8000, heard[:500]


def test_login_on_hvc0(machine):
    log_in(machine)
    assert shell(machine, "echo $((6 * 7))").strip() == "42"
    assert "hvc0" in shell(machine, "tty")


def test_entered_by_its_pvh_note(machine):
    """rayvm says so, and so does the kernel: that entry is a loader of type 0xb0 (arch/x86/platform/pvh/enlighten.c), a zero page of rayvm's 0xff."""
    assert "the kernel is entered by its PVH note" in state["rayvm"].log_text(), state["rayvm"].log_text()
    assert shell(machine, "cat /proc/sys/kernel/bootloader_type").strip() == "176"


def test_a_card_with_four_connectors(machine):
    """Those that the panel has an output for have a monitor. Linux asks for the EDIDs of all, and writes an error into its log for each that it does not get."""
    own = [output for output in status(machine)["outputs"] if not output["mirror"]]
    connectors = ["connected"] * len(own) + ["disconnected"] * (4 - len(own))
    assert shell(machine, "cat /sys/class/drm/card0-Virtual-[1-4]/status").split() == connectors
    assert shell(machine, "ls /sys/class/drm | grep -c card0-Virtual").strip() == "4"
    assert shell(machine, "head -1 /sys/class/drm/card0-Virtual-1/modes").strip() == "640x480"
    errors = shell(machine, "dmesg | grep -iE 'drm|virtio_gpu' | grep -iE 'error|fail' || true").strip()
    assert errors == "", errors
    machine.wait_for(lambda: status(machine)["scanout"]["width"] > 0, 20, "the guest's text console", lambda: str(status(machine)))
    assert len(status(machine)["scanouts"]) == 4 and status(machine)["scanouts"][0] == status(machine)["scanout"], status(machine)


def test_random_numbers(machine):
    assert "virtio_rng" in shell(machine, "cat /sys/class/misc/hw_random/rng_current")
    print("         " + shell(machine, "dd if=/dev/hwrng of=/root/random bs=64 count=1024 2>&1").strip().splitlines()[-1], flush=True)
    assert "65536" in shell(machine, "wc -c </root/random")
    first, second = (shell(machine, "head -c 64 /dev/hwrng | md5sum") for _ in range(2))
    assert first != second


def test_clock_has_the_hosts_time(machine):
    there, here = int(shell(machine, "date +%s")), int(machine.sh("date +%s", check=True).stdout)
    assert abs(there - here) < 60, (there, here)
    assert shell(machine, "date +%Y; cat /sys/class/rtc/rtc0/date").split()[0] == time.strftime("%Y")
    # An alarm in two seconds comes.
    shell(machine, "echo 0 >/sys/class/rtc/rtc0/wakealarm; echo +2 >/sys/class/rtc/rtc0/wakealarm; sleep 1; grep -q yes /proc/driver/rtc")
    shell(machine, "for i in 1 2 3 4 5 6 7 8; do sleep 1; [ -n \"$(cat /sys/class/rtc/rtc0/wakealarm)\" ] || break; done; [ $i -lt 8 ]")


def test_agent_port(machine):
    assert "org.rayvm.agent" in shell(machine, "cat /sys/class/virtio-ports/*/name")
    assert "agent: ping" in talk(machine, "agent", "ping\n", r"agent: ping", 30)
    assert "agent: again" in talk(machine, "agent", "again\n", r"agent: again", 30)     # closed and opened in between


def test_ping_over_the_tap(machine):
    print("         " + re.search(r"round-trip.*", shell(machine, f"ping -c 5 {HOST}"))[0], flush=True)
    assert machine.run(["busybox", "ping", "-c", "3", GUEST], timeout=60).status == 0


def test_address_is_stable_and_offloads_are_on(machine):
    mac = shell(machine, "cat /sys/class/net/eth0/address").strip()
    assert re.fullmatch(r"[0-9a-f][26ae](:[0-9a-f]{2}){5}", mac), mac
    state["mac"] = mac
    assert mac in state["rayvm"].log_text()
    features = shell(machine, "cat /sys/class/net/eth0/device/features").strip()
    for bit, name in ((0, "CSUM"), (1, "GUEST_CSUM"), (5, "MAC"), (7, "GUEST_TSO4"), (11, "HOST_TSO4"), (15, "MRG_RXBUF"), (16, "STATUS")):
        assert features[bit] == "1", f"{name} was not negotiated: {features}"


def test_bytes_over_tcp_both_ways(machine):
    """Segments of 64 KiB pass the tap; the bytes arrive."""
    machine.sh("head -c 8388608 /dev/urandom >/run/sent; md5sum </run/sent", check=True)
    want = machine.sh("md5sum </run/sent").stdout.split()[0]
    machine.spawn(["busybox", "nc", "-l", "-p", "5007", "-e", "/bin/cat", "/run/sent"], log="nc1.log")
    got = shell(machine, f"nc {HOST} 5007 </dev/null >/root/got; md5sum </root/got", 120)
    assert want in got, (want, got)
    # Its input stays open: nc ends when either side has nothing more to say.
    job = machine.spawn(["/bin/sh", "-c", "sleep 600 | busybox nc -l -p 5008 >/run/back"], log="nc2.log")
    time.sleep(0.5)
    shell(machine, f"nc {HOST} 5008 </root/got", 120)
    machine.wait_for(lambda: want in machine.sh("md5sum </run/back").stdout, 30, "the same bytes back", interval=0.5)
    job.signal(15, group=True)


def log_lines(since):
    """What rayvm logged after its log was SINCE; markers are not meant."""
    return [line for line in state["rayvm"].log_text()[len(since):].splitlines() if re.match(r"\d+\.\d+ (error|warn|info)", line)]


def break_ring(machine, driver, queue, how):
    """Breaks a ring of a driver's device. Returns rayvm's log until then."""
    changes = how(rings.Ring(shell(machine, f"virtqueue {driver} {queue}")))
    before = state["rayvm"].log_text()
    rings.write(machine, changes)
    return before


def check_stopped(machine, driver, device, why, before, commands):
    """After the COMMANDS the device waits to be reset, and the one line since BEFORE says which and why. Returns what they printed."""
    said = shell(machine, f"{commands} && cat /sys/bus/virtio/drivers/{driver}/virtio*/status", 120)
    assert int(said.split()[-1], 16) & NEEDS_RESET, f"{device} did not stop: {said}"
    state["rayvm"].wait_log(rf"warn virtio: {device}: the guest broke the protocol \({why}\)", 10, again=True)
    assert len(log_lines(before)) == 1, log_lines(before)
    return said


def reload(machine, driver, then):
    """The device loses its driver and gets it again, as with rmmod and modprobe, which would do it to every disk at once."""
    said = shell(machine, f"cd /sys/bus/virtio/drivers/{driver} && device=$(echo virtio*) && echo $device >unbind && [ ! -e $device ] && "
                          f"echo $device >bind && echo STATUS=$(cat $device/status) && cd && {then}", 120)
    assert int(re.search(r"STATUS=(\w+)", said)[1], 16) == WORKING, said
    return said


def test_broken_ring_of_random_numbers(machine):
    """Q6: who reads random numbers waits, nobody else does. With the driver loaded again, which ends that wait, there are some."""
    # The kernel itself reads, from a source of quality 0 for the last time, when a minute is over since it did before: it writes its own index over the broken
    # one then. The driver's next request would do so, too: a notification without a request.
    shell(machine, "echo 0 >/sys/class/misc/hw_random/rng_quality")
    for _ in range(3):
        before = break_ring(machine, "virtio_rng", 0, rings.Ring.index_ahead)
        said = shell(machine, "virtqueue virtio_rng 0 kick; cat /sys/bus/virtio/drivers/virtio_rng/virtio*/status")
        if int(said.split()[-1], 16) & NEEDS_RESET:
            break
    # What the driver has in store is soon read; its next request is not answered.
    check_stopped(machine, "virtio_rng", "virtio-rng", "available index is more than the queue size ahead", before,
                  "{ dd if=/dev/hwrng of=/root/random bs=64 count=64 2>/dev/null & reader=$!; sleep 1; kill -0 $reader; }")
    # The VM, the panel, COM1, both ports of the console, network and disk.
    shell(machine, f"ping -c 1 -W 10 {HOST} >/dev/null && {READ_DISK} >/dev/null && echo spoken on COM1 >/dev/ttyS0")
    assert "agent: still" in talk(machine, "agent", "still\n", r"agent: still", 30)
    talk(machine, "com1", "", r"spoken on COM1", 30)
    seen = []
    for _ in range(2):
        assert ctl(machine, "show", "toggle").status == 0
        now = status(machine)
        assert now["vm"] == "running", now
        seen.append(now["presentation"])
    assert sorted(seen) == ["hidden", "presented"], seen
    shell(machine, "kill -0 $reader && [ $(wc -c </root/random) -lt 4096 ]")
    reload(machine, "virtio_rng", "{ wait $reader; dd if=/dev/hwrng of=/root/random bs=64 count=64; } && [ $(wc -c </root/random) = 4096 ]")
    assert len(log_lines(before)) == 1, log_lines(before)


def test_broken_ring_of_the_network(machine):
    """Q3: where arriving packets should go is no memory, and one arrives."""
    before = break_ring(machine, "virtio_net", 0, rings.Ring.descriptors_nowhere)
    check_stopped(machine, "virtio_net", "virtio-net", "descriptor outside RAM", before,
                  f"! ping -c 1 -W 3 {HOST} && head -c 1024 /dev/hwrng >/dev/null && {READ_DISK} >/dev/null")
    reload(machine, "virtio_net", f"ip link set eth0 up && ip addr add {GUEST}/24 dev eth0 && ping -c 2 -W 10 {HOST}")
    assert len(log_lines(before)) == 1, log_lines(before)


def test_broken_ring_of_the_disk(machine):
    """Q6: nothing is read while it is stopped, as Linux keeps a disk for as long as a request of it waits."""
    content = machine.sh(f"md5sum <{DISK}", check=True).stdout.split()[0]
    before = break_ring(machine, "virtio_blk", 0, rings.Ring.index_ahead)
    check_stopped(machine, "virtio_blk", "virtio-blk", "available index is more than the queue size ahead", before,
                  f"virtqueue virtio_blk 0 kick && ping -c 1 -W 10 {HOST} && head -c 1024 /dev/hwrng >/dev/null")
    said = reload(machine, "virtio_blk", f"{READ_DISK} | md5sum && head -c 4096 /dev/hwrng >/root/random && dd if=/root/random of=/dev/vda bs=4096 seek=7 conv=fsync 2>/dev/null && md5sum </root/random")
    assert content in said, (content, said)
    written = machine.sh(f"dd if={DISK} bs=4096 skip=7 count=1 status=none | md5sum", check=True).stdout.split()[0]
    assert written in said, (written, said)
    assert len(log_lines(before)) == 1, log_lines(before)


def test_flood_of_hvc0_stalls_nobody(machine):
    """I5: nobody reads, then one reads slowly; the guest and other commands go on."""
    shell(machine, "(timeout 8 yes a line of a guest that does not stop >/dev/hvc0 2>&1 &) ; true")
    slow = machine.spawn(["/bin/sh", "-c", f"sleep 600 | {paths.built('src/rayvmctl')} -s {SOCKET} console hvc0 | sleep 12"], log="slow.log")
    for _ in range(4):
        before = time.monotonic()
        assert ctl(machine, "status").status == 0
        assert time.monotonic() - before < 10
        assert "agent: still" in talk(machine, "agent", "still\n", r"agent: still", 30)
    slow.signal(15, group=True)
    slow.wait(20)
    # On a quick machine the flood goes on between the two words of this.
    assert "alive" in shell(machine, "echo alive", 120)
    assert "console_dropped" in ctl(machine, "stats").stdout
    assert len(state["rayvm"].log_text()) < 100_000


def test_terminal_is_restored(machine):
    """rayvmctl on a terminal of its own, which is as before after the escape key and after SIGTERM."""
    check = f"""
import os, pty, signal, subprocess, sys, termios, time
for how in ("key", "term"):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = subprocess.Popen([{str(paths.built("src/rayvmctl"))!r}, "-s", {SOCKET!r}, "console", "hvc0"], stdin=slave, stdout=slave, stderr=slave)
    deadline = time.monotonic() + 60
    while termios.tcgetattr(slave)[3] == before[3]:
        assert time.monotonic() < deadline, "never raw"
        time.sleep(0.05)
    if how == "key":
        os.write(master, b"\\x1d")
    else:
        child.send_signal(signal.SIGTERM)
    os.set_blocking(master, False)
    while child.poll() is None:
        assert time.monotonic() < deadline, "does not end"
        try:
            os.read(master, 65536)
        except BlockingIOError:
            pass
        time.sleep(0.02)
    assert termios.tcgetattr(slave) == before, how
    assert child.returncode == (0 if how == "key" else 128 + signal.SIGTERM), child.returncode
"""
    result = machine.run(["python3", "-c", check], timeout=90)
    assert result.status == 0, result.stderr


def thread_ticks(machine, name):
    """Processor time of the threads of that name, in hundredths of a second."""
    stats = machine.sh(f"cat /proc/[0-9]*/task/*/stat 2>/dev/null | grep -F '({name})'; true").stdout.splitlines()
    return sum(int(field) for line in stats for field in line.rsplit(")", 1)[1].split()[11:13])


def test_tap_down_and_removed(machine):
    machine.sh(f"ip link set {TAP} down", check=True)
    shell(machine, f"ping -c 2 -W 1 {HOST}; true")
    state["rayvm"].wait_log(rf"tap {TAP} is down.*ip link set {TAP} up", 30)
    machine.sh(f"ip link set {TAP} up", check=True)
    shell(machine, f"ping -c 2 {HOST}")
    machine.sh(f"ip link del {TAP}", check=True)
    state["rayvm"].wait_log(rf"tap {TAP} is gone", 30)
    shell(machine, "for i in 1 2 3 4 5; do [ \"$(cat /sys/class/net/eth0/carrier)\" = 0 ] && break; sleep 1; done; [ \"$(cat /sys/class/net/eth0/carrier)\" = 0 ]")
    # And nothing spins on it.
    ticks = [sum(thread_ticks(machine, name) for name in ("net", "console", "vm-io")) for _ in range(2) if not time.sleep(2)]
    assert ticks[1] - ticks[0] < 100, ticks


def test_refusals_name_the_remedy(machine):
    files = guest_files("make-devices")
    for net, words in (("tap=lo", "no tap"), ("fd:99", "no open descriptor"), ("user", "tap=NAME")):
        job = machine.spawn([paths.built("src/rayvm"), "--display", "none", "--control", "/run/refused.sock", "-m", "256M", "-s", "1", "-k", files["vmlinuz"], "--net", net],
                            log="refused.log")
        assert job.wait(30) == 2, job.log_text()
        assert re.search(words, job.log_text()), (net, job.log_text())


def test_ends(machine):
    state["rayvm"].signal(15)
    assert state["rayvm"].wait(30) == 0, state["rayvm"].log_text()[-1500:]
