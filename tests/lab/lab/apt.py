# SPDX-License-Identifier: MIT
"""Debian packages of any suite, fetched with apt into the cache. Nothing is installed.

apt works in a private folder with a source list of its own, so that neither the system's package lists nor its
set of sources change, and an ordinary user may do it. Mirror and keys are those of the system's configuration.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from .cache import cache_dir

FALLBACK_MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# depmod lives in sbin, which an ordinary user's PATH lacks on Debian.
ENVIRONMENT = dict(os.environ, LC_ALL="C", PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin")


class FetchError(Exception):
    """Something could not be had; the text says why and what to do."""


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


def run(argv, what):
    """The output of ARGV; a FetchError that begins with WHAT when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env=ENVIRONMENT)
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise FetchError(f"{what} failed ({' '.join(argv[:1])}, exit {done.returncode}):\n{tail}")
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


class PrivateApt:
    """apt for SUITE with lists, sources and archives of its own in the cache. Who uses one holds the lock apt-SUITE."""

    def __init__(self, suite):
        folder = cache_dir() / "apt" / suite
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
        run(["apt-get", *self.options, "-q", "update"], f"reading the package list of {self.source}")

    def show(self, package):
        return run(["apt-cache", *self.options, "show", "--no-all-versions", package],
                    f"looking for {package} in {self.source}")

    def download(self, package, folder):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            done = subprocess.run(["apt-get", *self.options, "-q", "download", package], cwd=temporary,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  env=ENVIRONMENT)
            found = list(pathlib.Path(temporary).glob("*.deb"))
            if done.returncode or len(found) != 1:
                raise FetchError(f"downloading {package} from {self.source} failed:\n{done.stdout.strip()[-600:]}")
            return pathlib.Path(shutil.move(str(found[0]), str(folder / found[0].name)))


def progress(text):
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)
