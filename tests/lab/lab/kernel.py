# SPDX-License-Identifier: MIT
"""Debian kernels, fetched with apt into the cache and unpacked there. Nothing is installed.

apt works in a private folder with a source list of its own, so that neither the system's package lists nor its
set of sources change, and an ordinary user may do it. Mirror and keys are those of the system's configuration.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from .cache import cache_dir, locked

DEFAULT_KERNEL = "debian-6.12"

# Name -> suites to try in order. The package is always linux-image-amd64 and what it depends on.
KERNELS = {
    "debian-6.1": ["bookworm"],
    "debian-6.12": ["trixie"],
}

FALLBACK_MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# depmod lives in sbin, which an ordinary user's PATH lacks on Debian.
ENVIRONMENT = dict(os.environ, LC_ALL="C", PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin")


class KernelError(Exception):
    """A kernel could not be had; the text says why and what to do."""


class Kernel:
    """An unpacked kernel: `name`, `version` (uname -r), `vmlinuz` (bzImage), `modules` (.../lib/modules/VERSION)."""

    def __init__(self, name, root):
        images = sorted(root.glob("boot/vmlinuz-*"))
        if len(images) != 1:
            raise KernelError(f"{root}: expected one kernel in boot/, found {len(images)}; remove this folder")
        self.name = name
        self.vmlinuz = images[0]
        self.version = images[0].name[len("vmlinuz-"):]
        self.modules = root / "lib" / "modules" / self.version
        self.config = root / "boot" / f"config-{self.version}"
        if not (self.modules / "modules.dep").exists():
            raise KernelError(f"{self.modules}: not a modules folder that depmod has seen; remove {root}")


def host_codename():
    """The Debian codename of this machine ("bookworm"), or an empty string."""
    try:
        for line in pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key == "VERSION_CODENAME":
                return value.strip('"')
    except OSError:
        pass
    return ""


def suites_of(name):
    """The suites that may hold the kernel NAME, best first for this machine."""
    if name == "distribution":
        return [host_codename() or "bookworm"]
    if name not in KERNELS:
        raise KernelError(f"unknown kernel '{name}'; known: {', '.join(sorted(KERNELS))}, distribution")
    suites = list(KERNELS[name])
    if name == "debian-6.12" and host_codename() == "bookworm":
        suites.insert(0, "bookworm-backports")
    return suites


def _run(argv, what):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env=ENVIRONMENT)
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise KernelError(f"{what} failed ({' '.join(argv[:1])}, exit {done.returncode}):\n{tail}")
    return done.stdout


def _system_mirror():
    """The Debian mirror and keyring that the system's apt uses for its own release."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE)|$(REPO_URI)|$(SIGNED_BY)",
         "Created-By: Packages", "Component: main"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, env=ENVIRONMENT)
    codename = host_codename()
    for line in done.stdout.splitlines():
        release, uri, keys = (line.split("|") + ["", "", ""])[:3]
        if release in (codename, "stable", "oldstable") and uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/"), keys if keys.startswith("/") else KEYRING
    return FALLBACK_MIRROR, KEYRING


class _PrivateApt:
    """apt with lists, sources and archives of its own below `folder`."""

    def __init__(self, folder, suite):
        mirror, keys = _system_mirror()
        self.source = f"{mirror} {suite}"
        for sub in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        (folder / "state/status").touch()
        (folder / "etc/sources.list").write_text(
            f"deb [arch=amd64 target=Packages signed-by={keys}] {mirror} {suite} main\n", encoding="utf-8")
        self.options = []
        for key, value in {
                "Dir::State": folder / "state",
                "Dir::State::status": folder / "state/status",
                "Dir::Cache": folder / "cache",
                "Dir::Etc::sourcelist": folder / "etc/sources.list",
                "Dir::Etc::sourceparts": "/dev/null",
                "Dir::Etc::preferences": "/dev/null",
                "Dir::Etc::preferencesparts": folder / "etc/preferences.d",
                "APT::Architecture": "amd64",
                "APT::Architectures": "amd64",
                "APT::Sandbox::User": "root",   # "_apt" could not write to a user's cache
                "APT::Update::Post-Invoke-Success": "",
                "Acquire::Languages": "none",
                "Acquire::Retries": "3",
        }.items():
            self.options += ["-o", f"{key}={value}"]

    def update(self):
        _run(["apt-get", *self.options, "-q", "update"], f"reading the package list of {self.source}")

    def show(self, package):
        return _run(["apt-cache", *self.options, "show", "--no-all-versions", package],
                    f"looking for {package} in {self.source}")

    def download(self, package, folder):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            done = subprocess.run(["apt-get", *self.options, "-q", "download", package], cwd=temporary,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  env=ENVIRONMENT)
            found = list(pathlib.Path(temporary).glob("*.deb"))
            if done.returncode or len(found) != 1:
                raise KernelError(f"downloading {package} from {self.source} failed:\n{done.stdout.strip()[-600:]}")
            return pathlib.Path(shutil.move(str(found[0]), str(folder / found[0].name)))


def _progress(text):
    print(text, file=sys.stderr, flush=True)


def _fetch_from(suite, name, target):
    """Put the kernel of SUITE, unpacked and with module dependencies, at TARGET (created by a rename)."""
    apt_folder = cache_dir() / "apt" / suite
    apt = _PrivateApt(apt_folder, suite)
    _progress(f"kernel {name}: reading the package list of {suite}")
    apt.update()
    match = re.search(r"^Depends: (?:.*, )?(linux-image-\d[^ ,]*)", apt.show("linux-image-amd64"), re.MULTILINE)
    if not match:
        raise KernelError(f"linux-image-amd64 of {suite} names no kernel package")
    package = match.group(1)
    wanted = name[len("debian-"):] if name.startswith("debian-") else ""
    if not package.startswith(f"linux-image-{wanted}"):
        raise KernelError(f"{suite} has {package}, not a {wanted} kernel")
    _progress(f"kernel {name}: downloading {package}")
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        archive = apt.download(package, work)
        root = work / "root"
        _progress(f"kernel {name}: unpacking")
        _run(["dpkg-deb", "-x", str(archive), str(root)], f"unpacking {package}")
        if (root / "usr/lib/modules").is_dir() and not (root / "lib").exists():
            (root / "lib").symlink_to("usr/lib")
        version = package[len("linux-image-"):]
        _run(["depmod", "-b", str(root), version], "depmod")
        root.chmod(0o755)
        root.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch_kernel(name=DEFAULT_KERNEL):
    """Return the Kernel called NAME, from the cache or fetched into it. Raises KernelError."""
    suites = suites_of(name)
    folder = cache_dir() / "kernels"
    # "distribution" means another kernel after an upgrade of the host: keyed by the suite.
    target = folder / (name if name != "distribution" else f"distribution-{suites[0]}")
    if not target.is_dir():
        with locked(f"kernel-{name}"):
            if not target.is_dir():
                for tool in ("apt-get", "dpkg-deb", "depmod"):
                    if not shutil.which(tool, path=ENVIRONMENT["PATH"]):
                        raise KernelError(f"{tool} is missing: run tools/install-deps (Debian only)")
                folder.mkdir(parents=True, exist_ok=True)
                errors = []
                for suite in suites:
                    try:
                        _fetch_from(suite, name, target)
                        break
                    except KernelError as error:
                        errors.append(str(error))
                else:
                    raise KernelError("\n".join(errors))
    return Kernel(name, target)
