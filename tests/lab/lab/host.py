# SPDX-License-Identifier: MIT
"""What this machine offers for running the lab."""

import fcntl
import os
import struct

KVM_GET_SUPPORTED_CPUID = 0xC008AE05    # _IOWR(KVMIO, 0x05, struct kvm_cpuid2), linux/kvm.h
CPUID_ENTRY = struct.Struct("=10I")     # struct kvm_cpuid_entry2: function, index, flags, eax, ebx, ecx, edx, pad
MAX_ENTRIES = 256


def can_nest(path="/dev/kvm"):
    """True when KVM here lets a machine run KVM itself: VMX (leaf 1) or SVM (leaf 80000001h) in what KVM supports.

    Flags of /proc/cpuinfo say nothing of the kind: a hypervisor may show them and still not virtualise.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        data = bytearray(struct.pack("=II", MAX_ENTRIES, 0) + bytes(CPUID_ENTRY.size * MAX_ENTRIES))
        fcntl.ioctl(fd, KVM_GET_SUPPORTED_CPUID, data)
    except OSError:
        return False
    finally:
        os.close(fd)
    count = min(struct.unpack_from("=I", data)[0], MAX_ENTRIES)
    for index in range(count):
        entry = CPUID_ENTRY.unpack_from(data, 8 + index * CPUID_ENTRY.size)
        function, ecx = entry[0], entry[5]
        if (function == 1 and ecx & (1 << 5)) or (function == 0x80000001 and ecx & (1 << 2)):
            return True
    return False


def scale():
    """Factor on every deadline of the lab, from RAYVM_LAB_TIMEOUT_SCALE (default 1)."""
    try:
        return max(0.01, float(os.environ.get("RAYVM_LAB_TIMEOUT_SCALE", "1")))
    except ValueError:
        return 1.0
