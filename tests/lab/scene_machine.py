# SPDX-License-Identifier: MIT
"""Stock kernels on the bare machine: COM1 and an empty PCI bus, no device of ours. What they say about it, and how they end."""

import lzma
import re
import signal
import subprocess
import time

from lab.errors import Skip
from lab.kernel import fetch_kernel
from lab.paths import built

DISPLAYS = ("virtio-vga",)
NEWER = "debian-6.12"
MACHINE = {"memory": 3840}
TRACE = "/sys/kernel/tracing/events/kvm/kvm_msr"

# Model-specific registers that a guest may ask KVM for in vain: what Linux tries before it knows what there is. On another processor there may be more.
KNOWN_REGISTERS = {0xc0010007: "K7_PERFCTR3 (perf tries whether counters are real)"}

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
/bin/busybox mkdir -p /sys
/bin/busybox mount -t sysfs sys /sys
echo INIT-REACHED
cd /sys/devices/system/cpu
echo CORES-$(/bin/busybox cat cpu[0-9]*/topology/core_cpus_list | /bin/busybox sort -u | /bin/busybox wc -l) \
     PACKAGES-$(/bin/busybox cat cpu[0-9]*/topology/package_cpus_list | /bin/busybox sort -u | /bin/busybox tr '\\n' ' ') \
     CLOCK-$(/bin/busybox cat /sys/devices/system/clocksource/clocksource0/current_clocksource) NPROC-$(/bin/busybox nproc) \
     LOADER-$(/bin/busybox cat /proc/sys/kernel/bootloader_type)
cd /
case " $(/bin/busybox cat /proc/cmdline) " in
*" test=clock "*)
	while :; do /bin/busybox cat /proc/uptime; /bin/busybox sleep 0.1; done ;;
*" test=tail "*)
	echo TAIL-$(/bin/busybox stat -c %s /big)-$(/bin/busybox tail -c 4194304 /big | /bin/busybox md5sum | /bin/busybox cut -c -32)
	while :; do /bin/busybox sleep 1; done ;;
*" test=panic "*)
	/bin/busybox insmod /pvpanic.ko && /bin/busybox insmod /pvpanic-mmio.ko && echo c >/proc/sysrq-trigger ;;
esac
/bin/busybox grep -c ^processor /proc/cpuinfo | /bin/busybox sed s/^/CPUS-/
/bin/busybox dmesg
case " $(/bin/busybox cat /proc/cmdline) " in
*" test=reboot "*) /bin/busybox reboot -f ;;
esac
/bin/busybox poweroff -f
"""

# What a machine with a mistake in its tables or devices makes Linux say.
COMPLAINTS = re.compile(r"ACPI (?:Error|Warning|BIOS)|\bBUG\b|Firmware Bug|not reserved in|can't claim|timed out|"
                        r"(?:ECAM|MMCONFIG).*disabl|No controller found|APIC.*(?:fail|error)")


def setup(machine):
    machine.sh(f"echo hist:keys=ecx.hex,exception >{TRACE}/trigger", check=True)
    root = machine.results / "tiny-root"
    (root / "bin").mkdir(parents=True, exist_ok=True)
    (root / "dev").mkdir(exist_ok=True)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    with open("/bin/busybox", "rb") as busybox:
        (root / "bin" / "busybox").write_bytes(busybox.read())
    (root / "bin" / "busybox").chmod(0o755)
    for name in ("pvpanic", "pvpanic-mmio"):
        packed = fetch_kernel(NEWER).modules / "kernel/drivers/misc/pvpanic" / f"{name}.ko.xz"
        (root / f"{name}.ko").write_bytes(lzma.decompress(packed.read_bytes()))
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*"))) + "\n"
    with open(machine.results / "tiny.cpio", "wb") as out:
        subprocess.run(["/bin/busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out,
                       stderr=subprocess.DEVNULL, check=True)


class Plain:
    """rayvm with a guest and nothing else, as one process or two. What the guest says is in `serial()`."""

    def __init__(self, machine, name, *options, isolate=False, initrd="/lab/tiny.cpio", append="test=clock"):
        name += "-isolated" if isolate else ""
        self.machine, self.isolated, self.socket, self.path = machine, isolate or machine.isolated, f"/run/{name}.sock", machine.results / f"{name}-serial.log"
        self.path.unlink(missing_ok=True)
        self.job = machine.spawn([str(built("src/rayvm")), "--control", self.socket, "--display", "none", "--serial", f"file:/lab/{self.path.name}",
                                  "-k", str(fetch_kernel(NEWER).vmlinuz), "-i", initrd, "-a", f"console=ttyS0 quiet {append}", "--shutdown-timeout", "0",
                                  *options, *(["--isolate"] if self.isolated else [])], log=f"{name}.log")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.machine.alive and self.job.status is None:
            self.job.stop()

    def serial(self):
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    def said(self, pattern, times=1, timeout=150):
        found = []

        def look():
            found[:] = re.findall(pattern, self.serial())
            return len(found) >= times or self.job.status is not None

        self.machine.wait_for(look, timeout, f"/{pattern}/ from the guest", lambda: f"{self.serial()[-1000:]}\n{self.job.log_text()[-1500:]}", 0.2)
        assert len(found) >= times, f"rayvm ended with {self.job.status}: {self.job.log_text()[-1500:]}"
        return found[-1]

    def ctl(self, *words):
        return self.machine.run([str(built("src/rayvmctl")), "-s", self.socket, *words], 60, check=True)

    def quit(self):
        self.job.signal(signal.SIGTERM)
        assert self.job.wait(30) == 0, self.job.log_text()[-1500:]
        assert not re.search(r"the system call .* was refused", self.job.log_text()), self.job.log_text()

    def processes(self):
        """By name: the one that has the guest is "rayvm-machine", or "rayvm" where there is only one."""
        lines = self.machine.sh(f"pgrep -l -g {self.job.pid}", check=True).stdout.splitlines()
        found = {name: int(pid) for pid, name in map(str.split, lines)}
        assert ("rayvm-machine" in found) == self.isolated, found
        return found

    def mappings(self, pid):
        """Of a process: (name of what is mapped, {field: its words}) of each."""
        text = self.machine.sh(f"cat /proc/{pid}/smaps", check=True).stdout
        for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)[1:]:
            head, *rest = part.splitlines()
            yield " ".join(head.split()[5:]), {line.split(":")[0]: line.split(":")[1].split() for line in rest}


def boot(machine, kernel, extra, cpus=1, memory=256):
    return machine.spawn([str(built("tests/payload/boot_linux")), str(fetch_kernel(kernel).vmlinuz), "/lab/tiny.cpio",
                          f"console=ttyS0 quiet {extra}", str(cpus), str(memory)], log=f"boot-{kernel}-{extra}.log")


def check_boot(machine, kernel, cpus, memory):
    job = boot(machine, kernel, "test=poweroff", cpus, memory)
    assert job.wait(150) == 0, job.log_text()[-1500:]
    text = job.log_text()
    assert "INIT-REACHED" in text and "the guest powered off" in text, text[-1500:]
    assert f"CPUS-{cpus}\n" in text.replace("\r", ""), text[-1500:]
    # One package of as many cores, each with one thread, and the guest knows it.
    every = "0" if cpus == 1 else f"0-{cpus - 1}"
    assert f"CORES-{cpus} PACKAGES-{every} CLOCK-" in text and f"NPROC-{cpus}" in text, re.findall("CORES-.*", text)
    assert re.search(r"CLOCK-(kvm-clock|tsc) ", text), re.findall("CORES-.*", text)
    # A bzImage, by the 64-bit boot protocol; of the loader the guest knows what the zero page says. For PVH see scene_devices.py.
    assert "the kernel is entered in 64-bit mode" in text and "LOADER-255" in text, re.findall("CORES-.*", text)
    assert re.search(r"(ECAM|MMCONFIG).*0xe0000000-0xe00fffff.*reserved", text), text
    assert "PCI host bridge to bus 0000:00" in text
    assert "i8042: PNP: No PS/2 controller found" in text
    assert "setting system clock to" in text
    wrong = [line for line in text.splitlines() if COMPLAINTS.search(line)]
    assert not wrong, "\n".join(wrong)


def test_newer_kernel_boots_clean_and_powers_off(machine):
    check_boot(machine, "debian-6.12", 2, 256)


def test_older_kernel_boots_clean_with_memory_above_4_gib(machine):
    check_boot(machine, "debian-6.1", 1, 3200)


def test_more_cpus(machine):
    """Beside 1 and 2: 4 and 8, on a machine that has two."""
    for cpus in (4, 8):
        check_boot(machine, NEWER, cpus, 512)


def test_registers_that_kvm_does_not_know(machine):
    """What the guests of this scene so far touched beyond what KVM has is known by name. KVM logs a few lines a second at most, so all are counted, too."""
    logged = [line for line in machine.sh("dmesg", check=True).stdout.splitlines() if re.search(r"kvm.*(?:msr|MSR)", line)]
    strange = [line for line in logged if not any(f"MSR({number:#x})" in line for number in KNOWN_REGISTERS)]
    assert not strange, "\n".join(strange[:40])
    counts = machine.read_file(f"{TRACE}/hist").decode()
    found = [(int(number, 16), int(refused), int(count)) for number, refused, count
             in re.findall(r"\{ ecx: *([0-9a-f]+), exception: *(\d+) \} hitcount: *(\d+)", counts)]
    if not found:
        raise Skip("no guest ran in this machine before")
    refused = {hex(number): count for number, exception, count in found if exception and number not in KNOWN_REGISTERS}
    print(f"         {sum(count for _, _, count in found)} accesses to {len(found)} registers; {len(logged)} lines of KVM about {', '.join(KNOWN_REGISTERS.values())}", flush=True)
    assert not refused, f"the guest got an exception for {refused}"


def test_guest_of_huge_pages(machine):
    """--hugepages: the pool's pages are what the guest has, also after a reset; none is in a core file, and all go back."""
    pool = "/sys/kernel/mm/hugepages/hugepages-2048kB"
    machine.sh(f"echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; echo 128 >{pool}/nr_hugepages", check=True)
    try:
        have = machine.read_file(f"{pool}/free_hugepages").decode().strip()
        assert have == "128", f"this machine found {have} huge pages"
        for isolate in (False, True):
            with Plain(machine, "huge", "--hugepages", "-m", "256M", isolate=isolate) as rayvm:
                rayvm.said("INIT-REACHED")
                if not isolate:
                    rayvm.ctl("vm", "reset")
                    rayvm.said("INIT-REACHED", 2)
                log = rayvm.job.log_text()
                assert "guest memory: huge pages of 2 MiB" in log, log
                processes = rayvm.processes()
                holder = processes["rayvm-machine" if rayvm.isolated else "rayvm"]
                maps = [fields for name, fields in rayvm.mappings(holder) if "guest-ram" in name]
                assert maps and all(fields["KernelPageSize"][0] == "2048" and "ht" in fields["VmFlags"] for fields in maps), maps
                huge = sum(int(fields[field][0]) for fields in maps for field in ("Shared_Hugetlb", "Private_Hugetlb"))
                used = 128 - int(machine.read_file(f"{pool}/free_hugepages").decode())
                print(f"         {'isolated' if rayvm.isolated else 'one process'}: {huge // 1024} MiB of huge pages mapped, {used} taken from the pool", flush=True)
                assert huge > 32 * 1024 and used * 2048 >= huge, (maps, used)
                for name, pid in processes.items():
                    kept = [fields["VmFlags"] for what, fields in rayvm.mappings(pid) if "guest-ram" in what and "dd" not in fields["VmFlags"]]
                    assert not kept, f"a core file of {name} has the guest's memory in it: {kept}"
                rayvm.quit()
            free = machine.read_file(f"{pool}/free_hugepages").decode().strip()
            assert free == "128", f"{free} of 128 huge pages came back"
        machine.sh(f"echo 100 >{pool}/nr_hugepages", check=True)
        for isolate in (False, True):
            with Plain(machine, "huge-refused", "--hugepages", "-m", "256M", isolate=isolate) as rayvm:
                assert rayvm.job.wait(30) == 2, rayvm.job.log_text()
                lines = rayvm.job.log_text().splitlines()
                assert len(lines) == 1 and lines[0].startswith("rayvm: 128 huge pages of 2 MiB are needed, 100 are free; ") and "nr_hugepages" in lines[0], lines
    finally:
        machine.sh(f"echo 0 >{pool}/nr_hugepages")


def test_large_initrd(machine):
    """350 MiB, one process and two: the guest has it to its end, and rayvm never had a copy of its own."""
    size, tail = 350 << 20, 4 << 20
    made = machine.sh(f"cd /dev/shm && truncate -s {size - tail} big && head -c {tail} /dev/urandom >>big && tail -c {tail} big | md5sum && "
                      "(cat /lab/tiny.cpio; echo big | /bin/busybox cpio -o -H newc 2>/dev/null) >big.cpio; rm big", 120, check=True).stdout.split()[0]
    try:
        for isolate in (False, True):
            begin = time.monotonic()
            with Plain(machine, "initrd", "-m", "1536M", isolate=isolate, initrd="/dev/shm/big.cpio", append="test=tail") as rayvm:
                found = rayvm.said(r"TAIL-(\d+)-(\w+)")
                assert found == (str(size), made), (found, size, made)
                seconds, own = time.monotonic() - begin, {}
                for name, pid in rayvm.processes().items():
                    status = dict(re.findall(r"^(Vm\w+):\s+(\d+)", machine.read_file(f"/proc/{pid}/status").decode(), re.MULTILINE))
                    own[name] = (sum(int(fields["Pss"][0]) for what, fields in rayvm.mappings(pid) if "guest-ram" not in what) // 1024,
                                 (int(status["VmPeak"]) - int(status["VmSize"])) // 1024)
                print(f"         up in {seconds:.1f} s; MiB beside guest memory, and address space that was used once and no more: {own}", flush=True)
                # malloc() takes 128 MiB of addresses to have 64 that are aligned; a copy of this initrd would be 350.
                assert all(pss < 64 and gone < 200 for pss, gone in own.values()), own
                rayvm.quit()
    finally:
        machine.sh("rm -f /dev/shm/big.cpio")


test_large_initrd.suite = "all"     # two guests that unpack it


def test_panic_is_told(machine):
    """A stock kernel with its own pvpanic driver."""
    job = boot(machine, NEWER, "test=panic")
    assert job.wait(150) == 1, job.log_text()[-1500:]
    text = job.log_text()
    assert "Kernel panic - not syncing: sysrq triggered crash" in text and "its kernel panicked" in text and "rip 0x" in text, text[-3000:]


def check_clock(machine, isolate):
    """The guest's own time does not jump by the time that it stood still, and goes on at its old pace."""
    def readings():
        return [float(line.split()[0]) for line in rayvm.serial().splitlines() if re.match(r"\d+\.\d+ \d+\.\d+\s*$", line)]

    with Plain(machine, "clock", "-m", "256M", "-s", "2", isolate=isolate) as rayvm:
        machine.wait_for(lambda: len(readings()) > 5, 150, "the guest's clock", rayvm.job.log_text)
        begin, before = time.monotonic(), readings()[-1]
        for pause in (12, 0.5):
            rayvm.ctl("vm", "pause")
            time.sleep(0.5)
            stood = len(readings())
            time.sleep(pause)
            assert len(readings()) == stood, "it did not stand still"
            rayvm.ctl("vm", "resume")
            machine.wait_for(lambda: len(readings()) > stood + 10, 60, "the guest to go on", rayvm.job.log_text)
        all_of_them = readings()
        gap = max(after - earlier for earlier, after in zip(all_of_them, all_of_them[1:]))
        assert gap < 6, f"the guest's clock jumped by {gap} s: {all_of_them[-40:]}"
        assert all(after >= earlier for earlier, after in zip(all_of_them, all_of_them[1:])), "the guest's clock went back"
        passed, guest = time.monotonic() - begin, all_of_them[-1] - before
        assert guest < passed - 12, f"{guest} s in the guest, {passed} s outside with 12.5 s of pauses"
        print(f"pauses of 12 and 0.5 s: largest step of the guest's clock {gap:.2f} s, {guest:.1f} s in it, {passed:.1f} s outside")
        rayvm.quit()


def test_clock_stands_still_during_a_pause(machine):
    check_clock(machine, False)


def test_clock_stands_still_during_a_pause_isolated(machine):
    """Reading and setting the clock are system calls that the machine's own process may make, too."""
    check_clock(machine, True)


test_clock_stands_still_during_a_pause_isolated.suite = "all"   # that of one process is for each change


def test_reboot_starts_it_again(machine):
    job = boot(machine, "debian-6.12", "test=reboot")
    try:
        machine.wait_for(lambda: job.log_text().count("INIT-REACHED") >= 2, 150, "a second boot",
                         lambda: job.log_text()[-1500:])
        assert "the guest reset the machine" in job.log_text()
    finally:
        job.stop()
