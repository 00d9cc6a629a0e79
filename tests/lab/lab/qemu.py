# SPDX-License-Identifier: MIT
"""QEMU's command line for L1."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

from . import host, initramfs
from .apt import FetchError
from .emulator import PROGRAM, fetch_emulator
from .errors import LabError
from .kernel import DEFAULT_KERNEL, fetch_kernel

DISPLAYS = ("virtio-vga", "bochs-display", "cirrus-vga", "qxl")
KEYBOARDS = ("virtio", "usb", "ps2")

# What a software CPU need not do, and what would make pictures differ from one to the next (a blinking cursor).
KERNEL_ARGUMENTS = ("console=tty1 console=ttyS0 panic=-1 loglevel=5 mitigations=off nowatchdog audit=0 apparmor=0 "
                    "vt.global_cursor_default=0 consoleblank=0 systemd.unified_cgroup_hierarchy=1 "
                    "no_timer_check tsc=nowatchdog random.trust_cpu=on rcupdate.rcu_expedited=1 cryptomgr.notests")


@dataclasses.dataclass
class Drive:
    """A disk of L1 (virtio-blk: /dev/vda, ...). Without `readonly`, `snapshot` throws writes away at the end."""
    path: str
    snapshot: bool = True
    readonly: bool = False
    format: str = "raw"
    serial: str = ""


@dataclasses.dataclass
class Options:
    """How L1 is built. Sizes: memory in MiB, `size` (width, height) in pixels of the first head's preferred mode."""
    display: str = "virtio-vga"         # one of DISPLAYS, "std" (VGA with the bochs driver) or "none"
    heads: int = 1                      # virtio-vga and qxl; heads beyond the first start unplugged
    size: tuple = None                  # default 1280x800; cirrus-vga has its own
    kernel: str = DEFAULT_KERNEL
    append: str = ""                    # more kernel arguments
    memory: int = 4096
    cpus: int = 2
    accel: str = "auto"                 # auto, kvm, tcg
    drives: list = dataclasses.field(default_factory=list)
    keyboard: str = "virtio"            # KEYBOARDS; there is always the PS/2 controller beside it
    pointer: bool = True                # tablet (absolute) and mouse (relative)
    udev: bool = True
    systemd: bool = False               # systemd as first process, for trying units; some seconds slower
    qemu: list = dataclasses.field(default_factory=list)   # more QEMU arguments
    window: bool = False                # show the screen to a person
    shell: bool = False                 # a shell on the serial console on stdio


def accelerator(wanted="auto"):
    """QEMU's -accel and -cpu: "kvm" only where a machine in it can have KVM too."""
    if wanted == "auto":
        wanted = "kvm" if host.can_nest() else "tcg"
    if wanted == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    if wanted == "tcg":
        return ["-accel", "tcg,thread=multi", "-cpu", "max,+svm"]
    raise LabError(f"unknown accelerator '{wanted}' (auto, kvm, tcg)")


def default_size(display):
    """The size in pixels of the mode L1's kernel prefers when none is asked for."""
    return (1024, 768) if display == "cirrus-vga" else (1280, 800)


def window_reason():
    """Why no window can be shown here, or None."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no graphical session (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    if not _user_interface():
        return "QEMU has no user interface here (Debian: apt-get install qemu-system-gui)"
    return None


def _user_interface():
    done = subprocess.run([PROGRAM, "-display", "help"], stdout=subprocess.PIPE, text=True, check=False)
    have = done.stdout.split()
    return next((name for name in ("gtk", "sdl") if name in have), None)


def _display(options, folder):
    if options.display == "none":
        return ["-vga", "none"]
    device = {"std": "VGA", "qxl": "qxl-vga"}.get(options.display, options.display)
    properties = [device, "id=display0"]
    if options.heads > 1:
        if options.display not in ("virtio-vga", "qxl"):
            raise LabError(f"{options.display} has one head")
        properties.append(f"max_outputs={options.heads}")
    if options.display != "cirrus-vga":
        width, height = options.size or default_size(options.display)
        properties.append(f"xres={width},yres={height}")
        if options.display in ("bochs-display", "std"):
            properties.append("edid=on")
    elif options.size:
        raise LabError("cirrus-vga has no settable preferred mode")
    result = ["-vga", "none", "-device", ",".join(properties)]
    # A head is connected while somebody looks at it; VNC on a private socket is that somebody (see rfb.py).
    if options.display == "virtio-vga" and not options.window:
        for head in range(options.heads):
            result += ["-vnc", f"unix:{folder}/vnc{head},display=display0,head={head}"]
    return result


def command(options, folder, share):
    """QEMU's argument list. FOLDER holds sockets and logs, SHARE is the writable folder (/lab inside)."""
    if options.display not in initramfs.DISPLAY_MODULES:
        raise LabError(f"unknown display '{options.display}' ({', '.join(DISPLAYS)}, std, none)")
    if options.keyboard not in KEYBOARDS:
        raise LabError(f"unknown keyboard '{options.keyboard}' ({', '.join(KEYBOARDS)})")
    try:
        kernel = fetch_kernel(options.kernel)
        qemu = [PROGRAM] if options.window else fetch_emulator()    # what is fetched has no windows
    except FetchError as error:
        raise LabError(f"no QEMU or no kernel for the lab: {error}") from error
    ram = initramfs.build(kernel, options.display)
    python = os.path.realpath("/usr/bin/python3")
    append = [KERNEL_ARGUMENTS, f"lab.modules={kernel.modules}", f"lab.python={python}"]
    if not options.udev:
        append.append("lab.udev=0")
    if options.systemd:
        if not os.path.exists("/lib/systemd/systemd"):
            raise LabError("systemd is not installed on this machine (apt-get install systemd)")
        append.append("lab.init=systemd")
    if options.shell:
        columns, rows = shutil.get_terminal_size()
        append.append(f"lab.shell=/dev/ttyS0 lab.tty={rows}x{columns}")
    append.append(options.append)
    if options.shell:
        append.append("loglevel=3")     # the console is the person's
    if options.heads < 1 or options.cpus < 1 or options.memory < 512:
        raise LabError("a lab machine has at least one head, one CPU and 512 MiB")

    argv = [*qemu, "-name", "rayvm-lab", "-nodefaults", "-no-reboot", "-machine", "q35,usb=off,hpet=off",
            *accelerator(options.accel), "-smp", str(options.cpus), "-m", str(options.memory),
            "-kernel", str(kernel.vmlinuz), "-initrd", str(ram), "-append", " ".join(append).strip(),
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            "-virtfs", f"local,path={share},mount_tag=lab,security_model=none,multidevs=remap",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={folder}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.rayvm.lab",
            "-device", "virtio-rng-pci", "-device", "qemu-xhci,id=xhci"]
    if options.shell:
        argv += ["-serial", "mon:stdio"]
    else:
        argv += ["-serial", f"file:{folder}/serial.log"]
    if options.window:
        argv += ["-display", _user_interface() or "gtk"]
    else:
        argv += ["-display", "none"]
    argv += _display(options, folder)
    if options.keyboard == "virtio":
        argv += ["-device", "virtio-keyboard-pci,id=keyboard0"]
    elif options.keyboard == "usb":
        argv += ["-device", "usb-kbd,id=keyboard0,bus=xhci.0"]
    if options.pointer:
        argv += ["-device", "virtio-mouse-pci,id=mouse0", "-device", "virtio-tablet-pci,id=tablet0"]
    for number, drive in enumerate(options.drives):
        if not isinstance(drive, Drive):
            drive = Drive(**drive)
        if not pathlib.Path(drive.path).exists():
            raise LabError(f"drive {drive.path} does not exist")
        flags = "readonly=on" if drive.readonly else f"snapshot={'on' if drive.snapshot else 'off'}"
        path = str(drive.path).replace(",", ",,")
        argv += ["-drive", f"file={path},if=none,id=drive{number},format={drive.format},{flags}",
                 "-device", f"virtio-blk-pci,drive=drive{number}" + (f",serial={drive.serial}" if drive.serial else "")]
    return argv + list(options.qemu)
