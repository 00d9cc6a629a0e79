# SPDX-License-Identifier: MIT
"""The lab: a whole machine in QEMU, driven from outside.

What lives here: everything that starts, watches and ends that machine ("L1"). Plain Python 3, nothing
from outside the standard library. Nothing in this folder is needed to run rayvm on real hardware.
"""
