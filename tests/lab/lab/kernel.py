# SPDX-License-Identifier: MIT
"""Debian kernels, fetched into the cache and unpacked there. Nothing is installed."""

import pathlib
import re
import shutil
import tempfile

from .apt import ENVIRONMENT, FetchError, PrivateApt, host_codename, progress, run
from .cache import cache_dir, locked

DEFAULT_KERNEL = "debian-6.12"

# Name -> suites to try in order. The package is always linux-image-amd64 and what it depends on.
KERNELS = {
    "debian-6.1": ["bookworm"],
    "debian-6.12": ["trixie"],
}

class Kernel:
    """An unpacked kernel: `name`, `version` (uname -r), `vmlinuz` (bzImage), `modules` (.../lib/modules/VERSION)."""

    def __init__(self, name, root):
        images = sorted(root.glob("boot/vmlinuz-*"))
        if len(images) != 1:
            raise FetchError(f"{root}: expected one kernel in boot/, found {len(images)}; remove this folder")
        self.name = name
        self.vmlinuz = images[0]
        self.version = images[0].name[len("vmlinuz-"):]
        self.modules = root / "lib" / "modules" / self.version
        self.config = root / "boot" / f"config-{self.version}"
        if not (self.modules / "modules.dep").exists():
            raise FetchError(f"{self.modules}: not a modules folder that depmod has seen; remove {root}")


def suites_of(name):
    """The suites that may hold the kernel NAME, best first for this machine."""
    if name == "distribution":
        return [host_codename() or "bookworm"]
    if name not in KERNELS:
        raise FetchError(f"unknown kernel '{name}'; known: {', '.join(sorted(KERNELS))}, distribution")
    suites = list(KERNELS[name])
    if name == "debian-6.12" and host_codename() == "bookworm":
        suites.insert(0, "bookworm-backports")
    return suites


def _fetch_from(suite, name, target):
    """Put the kernel of SUITE, unpacked and with module dependencies, at TARGET (created by a rename)."""
    apt = PrivateApt(suite)
    progress(f"kernel {name}: reading the package list of {suite}")
    apt.update()
    match = re.search(r"^Depends: (?:.*, )?(linux-image-\d[^ ,]*)", apt.show("linux-image-amd64"), re.MULTILINE)
    if not match:
        raise FetchError(f"linux-image-amd64 of {suite} names no kernel package")
    package = match.group(1)
    wanted = name[len("debian-"):] if name.startswith("debian-") else ""
    if not package.startswith(f"linux-image-{wanted}"):
        raise FetchError(f"{suite} has {package}, not a {wanted} kernel")
    progress(f"kernel {name}: downloading {package}")
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        archive = apt.download(package, work)
        root = work / "root"
        progress(f"kernel {name}: unpacking")
        run(["dpkg-deb", "-x", str(archive), str(root)], f"unpacking {package}")
        if (root / "usr/lib/modules").is_dir() and not (root / "lib").exists():
            (root / "lib").symlink_to("usr/lib")
        version = package[len("linux-image-"):]
        run(["depmod", "-b", str(root), version], "depmod")
        root.chmod(0o755)
        root.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch_kernel(name=DEFAULT_KERNEL):
    """Return the Kernel called NAME, from the cache or fetched into it. Raises FetchError."""
    suites = suites_of(name)
    folder = cache_dir() / "kernels"
    # "distribution" means another kernel after an upgrade of the host: keyed by the suite.
    target = folder / (name if name != "distribution" else f"distribution-{suites[0]}")
    if not target.is_dir():
        with locked(f"kernel-{name}"):
            if not target.is_dir():
                for tool in ("apt-get", "dpkg-deb", "depmod"):
                    if not shutil.which(tool, path=ENVIRONMENT["PATH"]):
                        raise FetchError(f"{tool} is missing: run tools/install-deps (Debian only)")
                folder.mkdir(parents=True, exist_ok=True)
                errors = []
                for suite in suites:
                    try:
                        with locked(f"apt-{suite}"):
                            _fetch_from(suite, name, target)
                        break
                    except FetchError as error:
                        errors.append(str(error))
                else:
                    raise FetchError("\n".join(errors))
    return Kernel(name, target)
