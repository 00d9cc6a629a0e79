# SPDX-License-Identifier: MIT
"""L1's initramfs: busybox, the modules L1 always needs, and the script that puts the root file system together.

The archive holds everything up to the agent's start, so that the slow shared root is touched as little as possible.
It is kept in the cache under a name made of its contents.
"""

import hashlib
import lzma
import os
import pathlib
import shutil
import subprocess
import time
import zlib

from .cache import cache_dir, locked
from .errors import LabError

HERE = pathlib.Path(__file__).resolve().parent
APPLETS = ("sh", "mount", "mkdir", "insmod", "switch_root", "ln", "cp", "sleep", "cat", "hostname", "ip", "poweroff")

# Loaded before the root is mounted, in this order (with what they need).
ROOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
# Loaded beside the mounting of the root.
DEVICE_MODULES = ("virtio_console", "virtio_blk", "virtio_input", "evdev", "uinput", "kvm_amd", "kvm_intel",
                  "psmouse", "xhci_pci", "usbhid", "hid_generic")
DISPLAY_MODULES = {"virtio-vga": "virtio_gpu", "bochs-display": "bochs", "std": "bochs", "cirrus-vga": "cirrus",
                   "qxl": "qxl", "none": None}


class _ModuleTree:
    """Reads modules.dep and modules.builtin of one kernel."""

    def __init__(self, folder):
        self.folder = folder
        self.paths, self.needs = {}, {}
        for line in (folder / "modules.dep").read_text(encoding="utf-8").splitlines():
            path, _, needs = line.partition(":")
            self.paths[self._name(path)] = path
            self.needs[self._name(path)] = [self._name(need) for need in needs.split()]
        self.builtin = {self._name(line) for line in
                        (folder / "modules.builtin").read_text(encoding="utf-8").splitlines()}

    @staticmethod
    def _name(path):
        return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")

    def load_order(self, names):
        """NAMES with everything they need, needed ones first; built-in and unknown ones left out."""
        order = []
        for name in names:
            if name in self.paths:
                for needed in [*reversed(self.needs[name]), name]:
                    if needed not in order:
                        order.append(needed)
            elif name not in self.builtin and name != "bochs":
                raise LabError(f"the kernel in {self.folder} has no module {name}")
        return order

    def read(self, name):
        """The module's uncompressed bytes."""
        path = self.folder / self.paths[name]
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
        if path.suffix == ".zst":
            return subprocess.run(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE, check=True).stdout
        if path.suffix == ".gz":
            return zlib.decompress(path.read_bytes(), 31)
        return path.read_bytes()


class _Cpio:
    """Writes the "newc" format (kernel: Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.parts, self.inode = [], 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self.parts.append(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        self.add(name, 0o040755)

    def file(self, name, data, mode=0o644):
        self.add(name, 0o100000 | mode, data)

    def symlink(self, name, target):
        self.add(name, 0o120777, target.encode())

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def build(kernel, display):
    """The path of the initramfs for KERNEL (a kernel.Kernel) with the driver for DISPLAY."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if not busybox:
        raise LabError("busybox is missing: run tools/install-deps")
    tree = _ModuleTree(kernel.modules)
    display_module = DISPLAY_MODULES[display]
    root_order = tree.load_order(ROOT_MODULES)
    device_order = [name for name in tree.load_order(DEVICE_MODULES) if name not in root_order]
    display_order = [name for name in tree.load_order([display_module] if display_module else [])
                     if name not in root_order + device_order]

    scripts = {name: (HERE / name).read_bytes() for name in ("init.sh", "agent.py")}
    stamp = hashlib.sha256(repr((scripts, kernel.version, os.stat(busybox).st_mtime_ns, APPLETS,
                                 root_order, device_order, display_order)).encode()).hexdigest()[:16]
    target = cache_dir() / "lab" / f"initramfs-{kernel.version}-{display}-{stamp}"
    if target.exists():
        os.utime(target)
        return target
    with locked("initramfs"):
        archive = _Cpio()
        for name in ("bin", "dev", "proc", "sys", "host", "rw", "new", "modules", "lab"):
            archive.folder(name)
        archive.add("dev/console", 0o020600, device=(5, 1))
        archive.add("dev/null", 0o020666, device=(1, 3))
        archive.add("dev/kmsg", 0o020600, device=(1, 11))
        archive.file("bin/busybox", pathlib.Path(busybox).read_bytes(), 0o755)
        for applet in APPLETS:
            archive.symlink(f"bin/{applet}", "busybox")
        archive.file("init", scripts["init.sh"], 0o755)
        archive.file("lab/agent.py", scripts["agent.py"], 0o644)
        for name in root_order + device_order + display_order:
            archive.file(f"modules/{name}.ko", tree.read(name))
        for name, order in (("root", root_order), ("device", device_order), ("display", display_order)):
            archive.file(f"modules/{name}.list", "".join(f"{module}\n" for module in order).encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        # Old ones go, but not while another source tree's lab may be about to start with one.
        for old in target.parent.glob("initramfs-*"):
            if old.stat().st_mtime < time.time() - 86400:
                old.unlink(missing_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(archive.finish())
        part.rename(target)
    return target
