# SPDX-License-Identifier: MIT
"""The cache folder, and making things in it once even when several processes want them at the same time."""

import contextlib
import fcntl
import os
import pathlib


def cache_dir():
    """Where downloads and built images are kept, outside the source tree. Created when missing."""
    base = os.environ.get("RAYVM_CACHE")
    if not base:
        xdg = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(xdg, "rayvm")
    path = pathlib.Path(base).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name):
    """Hold the cache's lock NAME: whoever comes second waits and then finds the thing made."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
