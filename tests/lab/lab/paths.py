# SPDX-License-Identifier: MIT
"""Where things are. The same paths are valid inside L1, which has the host's root."""

import os
import pathlib

SOURCE = pathlib.Path(__file__).resolve().parents[3]
LAB = SOURCE / "tests" / "lab"
BUILD = pathlib.Path(os.environ.get("RAYVM_BUILD") or SOURCE / "build").absolute()
OUT = pathlib.Path(os.environ.get("RAYVM_TEST_OUT") or SOURCE / "test-out").absolute()


def built(name):
    """The program NAME of the build folder ("src/rayvm"); a FileNotFoundError names it when it is not built."""
    path = BUILD / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built (ninja -C {BUILD})")
    return path
