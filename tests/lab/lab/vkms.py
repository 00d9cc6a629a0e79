# SPDX-License-Identifier: MIT
"""vkms, the kernel's virtual display with a real vblank, which Debian leaves out: built from the sources of the very kernel L1 runs.

Debian's linux-source and linux-headers of the same version come as the kernel does (apt.py); nothing is installed. The module is kept in the
cache under the kernel's version, the packages are not. What the screen shows is told by the checksum vkms makes of each frame it composes (debugfs "crc").
"""

import os
import pathlib
import re
import shutil
import tarfile
import tempfile
import zlib

from .apt import ENVIRONMENT, FetchError, PrivateApt, progress, run
from .cache import cache_dir, locked
from .kernel import DEFAULT_KERNEL, fetch_kernel, suites_of

FOLDER = "drivers/gpu/drm/vkms/"
CRC = "/sys/kernel/debug/dri/0/crtc-0/crc"


def _unpack_driver(archive, target):
    """vkms' own files out of the kernel's source ARCHIVE (.tar.xz); reading ends behind them."""
    found = 0
    with tarfile.open(archive, "r|xz") as source:
        for member in source:
            if member.isfile() and FOLDER in member.name:
                (target / pathlib.PurePosixPath(member.name).name).write_bytes(source.extractfile(member).read())
                found += 1
            elif found and member.isfile():
                break
    if not (target / "Makefile").exists():
        raise FetchError(f"{archive.name} has no {FOLDER}Makefile")


def _build(apt, version, work):
    """Build vkms.ko for the kernel VERSION (uname -r) in the folder WORK; returns its path."""
    headers = f"linux-headers-{version}"
    text = apt.show(headers)
    package = re.search(r"^Version: (\S+)", text, re.MULTILINE)[1]
    common = re.search(r"linux-headers-[^ ,]*-common", text)
    kbuild = re.search(r"linux-kbuild-[^ ,]*", text)
    series = re.match(r"\d+\.\d+", version)[0]
    if not common or not kbuild:
        raise FetchError(f"{headers} depends on no -common or linux-kbuild package: unpacked otherwise than this knows")
    root = work / "root"
    for name in (headers, common[0], kbuild[0], f"linux-source-{series}"):
        progress(f"vkms for {version}: downloading {name}")
        archive = apt.download(f"{name}={package}", work)
        run(["dpkg-deb", "-x", str(archive), str(root)], f"unpacking {name}")
        archive.unlink()
    driver = work / "vkms"
    driver.mkdir()
    _unpack_driver(root / f"usr/src/linux-source-{series}.tar.xz", driver)
    tree = root / f"usr/src/linux-headers-{version}"
    makefile = tree / "Makefile"
    makefile.write_text(makefile.read_text(encoding="utf-8").replace("/usr/src/", f"{root}/usr/src/"), encoding="utf-8")
    progress(f"vkms for {version}: building")
    run(["make", "-C", str(tree), f"M={driver}", "CONFIG_DRM_VKMS=m", "CONFIG_DEBUG_INFO_BTF_MODULES=", f"-j{os.cpu_count()}", "modules"],
        f"building vkms for {version}")
    run(["strip", "--strip-debug", str(driver / "vkms.ko")], "stripping vkms.ko")
    return driver / "vkms.ko"


def fetch_vkms(name=DEFAULT_KERNEL):
    """The path of vkms.ko for the lab's kernel NAME, from the cache or built into it. Raises FetchError."""
    version = fetch_kernel(name).version
    folder = cache_dir() / "vkms"
    target = folder / version / "vkms.ko"
    if target.exists():
        return target
    with locked(f"vkms-{name}"):
        if target.exists():
            return target
        for tool in ("make", "strip", "dpkg-deb", "apt-get"):
            if not shutil.which(tool, path=ENVIRONMENT["PATH"]):
                raise FetchError(f"{tool} is missing: run tools/install-deps")
        target.parent.mkdir(parents=True, exist_ok=True)
        errors = []
        for suite in suites_of(name):
            try:
                with locked(f"apt-{suite}"), tempfile.TemporaryDirectory(prefix=".build.", dir=folder) as work:
                    apt = PrivateApt(suite)
                    progress(f"vkms for {version}: reading the package list of {suite}")
                    apt.update()
                    os.replace(_build(apt, version, pathlib.Path(work)), target)
                return target
            except (FetchError, OSError, tarfile.TarError) as error:
                errors.append(f"{suite}: {error}")
        raise FetchError("\n".join(errors))


def load(machine, module):
    """Give MACHINE, which has no other card, a vkms with overlay and cursor planes, and wait for /dev/dri/card0. MODULE: from fetch_vkms()."""
    machine.sh(f"modprobe -a drm_kms_helper drm_shmem_helper && insmod {module} enable_overlay=1 enable_cursor=1", check=True)
    machine.wait_for(lambda: machine.exists("/dev/dri/card0"), 20, "vkms' card", interval=0.2)


def checksum(picture):
    """What vkms counts for a frame that is PICTURE: crc32_le() from 0 over its pixels as 16-bit A, R, G, B (vkms_composer.c)."""
    words = bytearray(b"\xff") * (picture.width * picture.height * 8)
    for channel in range(3):
        for byte in (2, 3):     # 8 bits become 16 by repetition
            words[2 * channel + byte::8] = picture.data[channel::3]
    return zlib.crc32(words, 0xFFFFFFFF) ^ 0xFFFFFFFF


def frames(machine, seconds):
    """The checksums of the frames that vkms shows during so many SECONDS, one a vblank. It composes only while somebody reads them."""
    text = machine.sh(f"echo auto >{CRC}/control && timeout {seconds} cat {CRC}/data >/run/crc; cat /run/crc", seconds + 30).stdout
    return [int(word, 16) for word in re.findall(r"0x[0-9a-f]{8} 0x([0-9a-f]{8})", text)]
