# SPDX-License-Identifier: MIT
"""Stock kernels on the bare machine: COM1 and an empty PCI bus, no device of ours. What they say about it, and how they end."""

import re
import subprocess

from lab.kernel import fetch_kernel
from lab.paths import built

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 3840}

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo INIT-REACHED
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
    assert f"CPUS-{cpus}" in text, text[-1500:]
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


def test_reboot_starts_it_again(machine):
    job = boot(machine, "debian-6.12", "test=reboot")
    try:
        machine.wait_for(lambda: job.log_text().count("INIT-REACHED") >= 2, 150, "a second boot",
                         lambda: job.log_text()[-1500:])
        assert "the guest reset the machine" in job.log_text()
    finally:
        job.stop()
