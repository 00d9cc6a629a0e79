# SPDX-License-Identifier: MIT
"""The QEMU that lab machines run in: the system's, or from the cache a newer one where the system's has a race that is known.

Before QEMU 8.1 the multi-threaded software CPU could go on running code that another CPU had just replaced (a page was
not locked while it was translated), and kernels patch their own code at boot and with each VM they start. 7.2 lost 2 of 65
guests that were booted in a row (a triple fault, a silent stop) and a machine (an oops at a patched instruction), 10.0 none
of 61. On a host with more to do than it has processors guests are lost with 10.0, too: what that is, is not known.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from .apt import FetchError, PrivateApt, host_codename, progress, run
from .cache import cache_dir, locked

PROGRAM = "qemu-system-x86_64"
WANTED = (8, 1)
SUITE = {"bookworm": "bookworm-backports"}      # of the release: where a newer one is
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "qemu-system-modules-spice", "qemu-system-modules-opengl", "seabios")


def version_of(program):
    """(major, minor) of a QEMU, or None."""
    try:
        done = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=False)
    except OSError:
        return None
    match = re.search(r"version (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def _command(root):
    """An unpacked QEMU's arguments zero. What is not in its packages (firmware of network cards) is the system's."""
    usr = root / "usr"
    folders = (usr / "share/qemu", usr / "share/seabios", "/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")
    return ["env", f"QEMU_MODULE_DIR={usr}/lib/x86_64-linux-gnu/qemu", str(usr / "bin" / PROGRAM), *(word for folder in folders for word in ("-L", str(folder)))]


def _fetch(suite, target):
    apt = PrivateApt(suite)
    progress(f"QEMU for the lab: reading the package list of {suite}")
    apt.update()
    work = pathlib.Path(tempfile.mkdtemp(prefix=".qemu.", dir=target.parent))
    try:
        root = work / "root"
        for package in PACKAGES:
            progress(f"QEMU for the lab: downloading {package}")
            run(["dpkg-deb", "-x", str(apt.download(package, work)), str(root)], f"unpacking {package}")
        missing = re.findall(r"^\s*(\S+) => not found", run(["ldd", str(root / "usr/bin" / PROGRAM)], "looking at QEMU's libraries"), re.MULTILINE)
        if missing:
            raise FetchError(f"the QEMU of {suite} needs {', '.join(missing)}")
        root.chmod(0o755)
        root.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch_emulator():
    """The words that start QEMU: RAYVM_LAB_QEMU's, the system's, or what is fetched into the cache. Raises FetchError."""
    chosen = os.environ.get("RAYVM_LAB_QEMU")
    if chosen:
        return [chosen]
    system = shutil.which(PROGRAM)
    if not system:
        raise FetchError(f"{PROGRAM} is missing: run tools/install-deps")
    suite = SUITE.get(host_codename())
    if not suite or (version_of(system) or WANTED) >= WANTED:
        return [system]
    target = cache_dir() / "qemu" / suite
    if not target.is_dir():
        with locked("qemu"), locked(f"apt-{suite}"):
            if not target.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    _fetch(suite, target)
                except FetchError as error:
                    progress(f"QEMU for the lab: the system's, which loses a machine now and then: {error}")
                    return [system]
    return _command(target)
