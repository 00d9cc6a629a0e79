# SPDX-License-Identifier: MIT
"""Stock kernels on the bare machine: COM1 and an empty PCI bus, no device of ours. What they say about it, and how they end."""

import lzma
import re
import subprocess
import time

from lab.kernel import fetch_kernel
from lab.paths import built

DISPLAYS = ("virtio-vga",)
NEWER = "debian-6.12"
MACHINE = {"memory": 3840}

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
    """What the guests of this scene so far touched beyond what KVM has: a handful, and not again and again."""
    lines = [line for line in machine.sh("dmesg", check=True).stdout.splitlines() if re.search(r"kvm.*(msr|MSR)", line)]
    assert len(lines) < 20, "\n".join(lines[:40])


def test_panic_is_told(machine):
    """A stock kernel with its own pvpanic driver."""
    job = boot(machine, NEWER, "test=panic")
    assert job.wait(150) == 1, job.log_text()[-1500:]
    text = job.log_text()
    assert "Kernel panic - not syncing: sysrq triggered crash" in text and "its kernel panicked" in text and "rip 0x" in text, text[-3000:]


def test_clock_stands_still_during_a_pause(machine):
    """The guest's own time does not jump by the time that it stood still, and goes on at its old pace."""
    serial = machine.results / "clock.log"

    def readings():
        return [float(line.split()[0]) for line in serial.read_text(errors="replace").splitlines() if re.match(r"\d+\.\d+ \d+\.\d+\s*$", line)]

    def ctl(*words):
        return machine.run([str(built("src/rayvmctl")), "-s", "/run/clock.sock", *words], 60, check=True)

    job = machine.spawn([str(built("src/rayvm")), "--control", "/run/clock.sock", "--display", "none", "--serial", "file:/lab/clock.log", "-k",
                         str(fetch_kernel(NEWER).vmlinuz), "-i", "/lab/tiny.cpio", "-a", "console=ttyS0 quiet test=clock", "-m", "256M", "-s", "2",
                         "--shutdown-timeout", "0"], log="clock-rayvm.log")
    try:
        machine.wait_for(lambda: serial.exists() and len(readings()) > 5, 150, "the guest's clock", job.log_text)
        begin, before = time.monotonic(), readings()[-1]
        for pause in (12, 0.5):
            ctl("vm", "pause")
            time.sleep(0.5)
            stood = len(readings())
            time.sleep(pause)
            assert len(readings()) == stood, "it did not stand still"
            ctl("vm", "resume")
            machine.wait_for(lambda: len(readings()) > stood + 10, 60, "the guest to go on", job.log_text)
        all_of_them = readings()
        gap = max(after - earlier for earlier, after in zip(all_of_them, all_of_them[1:]))
        assert gap < 6, f"the guest's clock jumped by {gap} s: {all_of_them[-40:]}"
        assert all(after >= earlier for earlier, after in zip(all_of_them, all_of_them[1:])), "the guest's clock went back"
        passed, guest = time.monotonic() - begin, all_of_them[-1] - before
        assert guest < passed - 12, f"{guest} s in the guest, {passed} s outside with 12.5 s of pauses"
        print(f"pauses of 12 and 0.5 s: largest step of the guest's clock {gap:.2f} s, {guest:.1f} s in it, {passed:.1f} s outside")
    finally:
        job.stop()


def test_reboot_starts_it_again(machine):
    job = boot(machine, "debian-6.12", "test=reboot")
    try:
        machine.wait_for(lambda: job.log_text().count("INIT-REACHED") >= 2, 150, "a second boot",
                         lambda: job.log_text()[-1500:])
        assert "the guest reset the machine" in job.log_text()
    finally:
        job.stop()
