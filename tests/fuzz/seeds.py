# SPDX-License-Identifier: MIT
"""The corpus' hand-made part: one input for each way in which a virtual machine monitor has been broken before.

Names begin with the row of the list of known attacks that they embody (Q rings and transport, B disk, P bus, K link,
G gpu, I input and boot). Operations are those of guest.h, fuzz_*.c.
"""

import struct

LOW = 0xA0000
HIGH = 0x100000000
RINGS, AVAIL_AT, USED_AT = 0x10000, 0x4000, 0x5000
SCRATCH, DATA = 0x50000, 0x60000
ALL = 0xFFFFFFFFFFFFFFFF
NO_EVENT_IDX = ALL & ~(1 << 29)

(RAM, DESC, DESC_NEXT, AVAIL, AVAIL_INDEX, KICK, COMMON_WRITE, COMMON_READ, BAR_WRITE, BAR_READ, CONFIG_WRITE, CONFIG_READ,
 PORT_WRITE, PORT_READ, MMIO_WRITE, MMIO_READ, HANDSHAKE, RESET, PAUSE, SETTLE, MSIX, EVENT, REFUSE, MOVE_BAR, SELECT, STATE) = range(26)
DEVICE = 32
NEXT, WRITE, INDIRECT = 1, 2, 4
W1, W2, W4, W8 = range(4)


def op(code, a=0, b=0, c=0, d=0):
    return struct.pack("<BBHIQ", code, a & 0xFF, b & 0xFFFF, c & 0xFFFFFFFF, d & ALL)


def desc(index, addr, length, flags=0, queue=0):
    return op(DESC, queue | flags << 3, index, length, addr)


def start(size=64, features=ALL, without=0):
    return op(HANDSHAKE, without, size, 0, features)


def chain(*parts, head=0, queue=0):
    """Descriptors (addr, length, writable) from `head` on, made available, and a notification."""
    out = b""
    for i, (addr, length, writable) in enumerate(parts):
        out += desc(head + i, addr, length, (WRITE if writable else 0) | (NEXT if i + 1 < len(parts) else 0), queue)
    return out + op(AVAIL, queue, head) + op(KICK, queue)


def rings():
    """Q: the same for every device with queue 0."""
    kick = op(KICK)
    good = chain((DATA, 16, False), (DATA + 64, 64, True))
    return {
        "Q1-zero-length": start() + chain((DATA, 0, False), (DATA, 1, True)) + start() + good,
        "Q1-loop": start() + desc(0, DATA, 16, NEXT) + op(DESC_NEXT, 0, 0, 0, NEXT) + op(AVAIL) + kick,
        "Q1-long": start(256) + b"".join(desc(i, DATA, 16, NEXT) for i in range(60)) + op(AVAIL) + kick,
        "Q2-twice": start() + desc(0, DATA, 16, NEXT) + desc(1, DATA + 64, 512, WRITE) + op(AVAIL, 0, 0, 1) + kick,
        "Q3-hole": start() + chain((LOW, 16, False)),
        "Q3-crosses-end": start() + chain((LOW - 8, 16, False)) + start() + chain((HIGH + 0x10000 - 1, 2, True)),
        "Q3-wraps": start() + chain((ALL - 7, 16, False)) + start() + chain((0, 0xFFFFFFFF, True)),
        "Q3-device": start() + chain((0x800003000, 4, False)) + start() + chain((0xE0018000, 64, True)),
        "Q4-indirect": start() + desc(0, DATA, 32, INDIRECT) + op(AVAIL) + kick,
        "Q4-indirect-odd": start() + desc(0, DATA, 17, INDIRECT) + op(AVAIL) + kick + start() + desc(0, DATA, 0, INDIRECT | NEXT)
                           + op(AVAIL) + kick,
        "Q5-head": start() + op(AVAIL, 0, 64) + kick + start() + op(AVAIL, 0, 0xFFFF) + kick,
        "Q5-next": start() + desc(0, DATA, 16, NEXT) + op(DESC_NEXT, 0, 0, 64, NEXT) + op(AVAIL) + kick,
        "Q5-next-far": start() + desc(0, DATA, 16, NEXT) + op(DESC_NEXT, 0, 0, 0xFFFF, NEXT) + op(AVAIL) + kick,
        "Q6-ahead": start() + op(AVAIL_INDEX, 0, 65) + kick + start() + op(AVAIL_INDEX, 0, 0x8000) + kick,
        "Q7-locked": start() + op(COMMON_WRITE, 24, 1, 0, 16) + op(COMMON_WRITE, 32, 3, 0, LOW) + op(COMMON_WRITE, 40, 2, 0, 1) + good,
        "Q7-sizes": b"".join(start(size) + good for size in (0, 1, 2, 3, 255, 256, 257, 1024, 2048, 0x8000)),
        "Q7-places": b"".join(op(RESET) + op(COMMON_WRITE, 12, 2) + start(64, ALL, 0xFF) + op(SELECT) + op(COMMON_WRITE, 32, 3, 0, at)
                              + op(COMMON_WRITE, 28, 1, 0, 1) + kick for at in (LOW - 16, LOW, ALL - 15, 8, HIGH + 0xFFF0)),
        "Q8-early": op(KICK, 0) + op(KICK, 1) + op(KICK, 7) + op(RESET) + op(KICK, 7 | W8 << 3) + op(BAR_WRITE, W8, 0, 0x3FFE, ALL),
        "Q9-select": op(SELECT, 0, 9) + b"".join(op(COMMON_READ, reg, 1) for reg in (24, 26, 28, 30)) + op(COMMON_WRITE, 24, 1, 0, 8)
                     + op(COMMON_WRITE, 26, 1, 0, 17) + op(COMMON_WRITE, 16, 1, 0, 0x7FF) + op(SELECT, 0, 0xFFFF) + op(COMMON_WRITE, 28, 1, 0, 1),
        "Q10-widths": b"".join(op(BAR_READ, w, 0, at) + op(BAR_WRITE, w, 0, at, ALL)
                               for at in (0x2000, 0x203B, 0x2FFD, 0x1000, 0x37, 0x7FFF, 0x40F8, 0x4804) for w in range(4)),
        "Q12-one-page-many-times": start(256) + b"".join(desc(i, DATA, 0x10000, NEXT | (WRITE if i else 0)) for i in range(100))
                                   + desc(100, DATA, 1, WRITE) + op(AVAIL) + kick,
        "Q13-directions": start() + chain((DATA, 16, True), (DATA, 16, False)) + start() + chain((DATA, 16, True), (DATA, 1, True))
                          + start() + chain((DATA, 16, False), (DATA, 512, False)),
        "Q14-status": op(RESET) + op(COMMON_WRITE, 20, 0, 0, 7) + op(COMMON_WRITE, 8, 2, 0, 2) + op(COMMON_WRITE, 12, 2, 0, 1)
                      + op(COMMON_WRITE, 20, 0, 0, 0xBF) + op(COMMON_WRITE, 8, 2, 0, 1) + op(COMMON_WRITE, 12, 2, 0, ALL) + op(COMMON_WRITE, 20, 0, 0, 15),
        "Q15-resets": (start() + desc(0, DATA, 16, NEXT) + desc(1, DATA + 64, 64, WRITE) + op(AVAIL) + op(KICK, 0, 1) + op(RESET)) * 5
                      + op(RESET, 1) + start() + good,
        "Q-events": start() + op(EVENT, 0, 5) + good + good + op(EVENT, 0, 0xFFFF, 1) + good + start(64, NO_EVENT_IDX) + op(AVAIL_INDEX, 0, 0, 1) + good,
        "Q-pause": start() + op(PAUSE) + good + op(PAUSE, 1) + op(SETTLE) + op(PAUSE) + op(RESET) + start() + good + op(PAUSE, 1),
        "state": start() + good + op(PAUSE) + op(STATE, 1) + op(STATE, 8) + op(PAUSE, 1) + good + op(PAUSE) + op(STATE, 17) + op(STATE, 24)
                 + op(STATE, 1) + op(STATE, 12, 7) + op(STATE, 12) + op(PAUSE, 1) + good,
        "state-registers": start() + good + op(PAUSE) + b"".join(op(STATE, 1) + op(STATE, 10, 0, at, value) for at in range(16, 48 + 48, 8) for value in (0, ALL, 1 << 32)),
        "state-device": start() + good + op(PAUSE) + b"".join(op(STATE, 1) + op(STATE, 42, 0, at, value) for at in range(0, 64, 8) for value in (0, ALL, 0x101010101010101)) + op(PAUSE, 1),
        "state-bus": start() + op(PAUSE) + b"".join(op(STATE, 17) + op(STATE, 26, 0, at, value) for at in (16, 20, 24, 32, 300, 600, 1000, 2000) for value in (0, ALL, 0xC0000004))
                     + op(PAUSE, 1) + good,
        "Q-rings-in-each-other": op(RESET) + start(64, ALL, 0xFF) + op(RESET) + op(COMMON_WRITE, 20, 0, 0, 3) + op(COMMON_WRITE, 8, 2, 0, 1)
                                 + op(COMMON_WRITE, 12, 2, 0, 1) + op(COMMON_WRITE, 20, 0, 0, 11) + op(SELECT) + op(COMMON_WRITE, 32, 3, 0, RINGS)
                                 + op(COMMON_WRITE, 40, 3, 0, RINGS + AVAIL_AT) + op(COMMON_WRITE, 48, 3, 0, RINGS + AVAIL_AT)
                                 + op(COMMON_WRITE, 28, 1, 0, 1) + op(COMMON_WRITE, 20, 0, 0, 15) + good + good,
    }


def blk():
    request, ranges, disk, other = DEVICE, DEVICE + 1, DEVICE + 2, DEVICE + 3
    sectors = 0x40000 // 512

    def io(kind, sector, length, pieces=1, odd=0, at=0):
        return op(request, kind, at, length | (pieces - 1) << 28 | odd, sector) + op(KICK)

    work = start(256) + b"".join(op(request, i & 1, i * 32, 4096 | 1 << 28, i * 8) for i in range(24)) + op(KICK) + op(ranges, 3, 0, 8, 0) + op(ranges, 2, 0, 8, 8) \
        + op(KICK) + io(4, 0, 0)
    return {
        **rings(),
        **{f"B-kind-{kind:02x}": op(disk, kind) + work for kind in (0, 1, 2, 3, 6, 8, 10, 14, 18, 22, 34, 38, 42, 64, 66, 72, 74, 128, 130, 134, 194)},
        "B7-shrinks": op(disk, 2) + start() + io(1, 0, 4096) + op(other, 0, 1) + io(0, 0, 4096) + io(1, 64, 4096) + op(other) + io(0, 0, 4096),
        "B-read-write": start() + io(1, 0, 4096, 3) + io(0, 0, 4096, 2, 0, 0x400) + io(4, 0, 0) + io(8, 0, 20),
        "B1-past-end": start() + io(0, sectors, 512) + io(0, sectors - 1, 1024, 2) + io(1, 0x80000000000000, 512) + io(1, ALL, 512),
        "B1-past-end-of-a-file": op(disk, 2) + start() + io(1, sectors, 512) + io(1, sectors - 1, 1024, 2) + io(0, sectors - 1, 1024, 2) + io(1, 2 * sectors, 512),
        "B2-odd-length": start() + io(0, 0, 511) + io(1, 0, 513, 2) + io(1, 0, 0) + io(0, 0, 0),
        "B3-ranges": start() + op(ranges, 1 | 1 << 1, 0, 8, 0) + op(KICK) + op(ranges, 0 | 16 << 1, 0, 4, 4) + op(KICK)
                     + op(ranges, 1 | 17 << 1, 0, 1, 0) + op(KICK) + op(ranges, 1 | 1 << 1, 1, sectors, 0) + op(KICK)
                     + op(ranges, 0 | 1 << 1, 1, 8, 0) + op(KICK) + op(ranges, 1 | 2 << 1, 0, 0xFFFFFFFF, ALL) + op(KICK) + op(ranges, 0, 0, 1, 0) + op(KICK),
        "B4-read-only": op(disk, 1) + start() + io(1, 0, 512) + io(0, 0, 512) + op(ranges, 3, 0, 8, 0) + op(KICK),
        "B5-unknown": start() + io(2, 0, 512) + io(255, 0, 512) + io(0, 0, 512, 1, 0x40000000) + io(0, 0, 512, 1, 0x80000000) + io(8, 0, 0),
        "B5-split-header": start() + op(RAM, W8, 0, DATA) + op(RAM, W8, 0, DATA + 8) + chain((DATA, 3, False), (DATA + 3, 13, False), (DATA + 0x100, 512, True),
                                                                                         (DATA + 0x800, 1, True)),
        "B6-batch": start(256) + b"".join(op(request, i & 1, i * 32, 4096 | 1 << 28, i * 8) for i in range(40)) + op(KICK),
        "B-no-flush": start(64, ALL & ~(1 << 9)) + io(1, 8, 4096) + op(ranges, 3, 0, 8, 0) + op(KICK),
        "B-reset-in-flight": (start(256) + b"".join(op(request, i & 1, i * 32, 0x8000, i * 8) for i in range(8)) + op(KICK, 0, 1) + op(RESET)) * 4,
        "B-data-over-ring": start() + io(1, 0, 4096, 1, 0, 0) + op(request, 0, 0xFFFF, 4096, 0) + op(KICK) + chain((SCRATCH, 16, False), (RINGS, 0x6000, True), (DATA, 1, True)),
    }


def pci():
    signal, other, bus_reset = DEVICE, DEVICE + 1, DEVICE + 2
    window64, window32, bar = 0x800000000, 0xC0000000, 0x8000
    moves = b"".join(op(MOVE_BAR, a, 0, 0, to) for a in (0, 1) for to in
                     (0, 0x1000, 0xE0000000, 0xFEE00000, window32, window64 + 2 * bar, window64 + bar, window64 + bar // 2, ALL, window32 + 0x10000000 - bar,
                      window32 + 0x10000000, window64))
    return {
        **rings(),
        "P1-moves": moves + start() + op(KICK),
        "P1-moves-live": start() + op(AVAIL) + moves + op(KICK) + op(other, 1) + start() + moves + op(KICK, 1),
        "P1-collision": op(MOVE_BAR, 0, 0, 0, window64 + bar) + op(other, 1) + op(MOVE_BAR, 0, 0, 0, window64 + 4 * bar) + op(other) + op(BAR_READ, W4),
        "P1-refused": op(REFUSE, 3) + moves + op(REFUSE, 1) + op(CONFIG_WRITE, W2, 4, 0, 0) + op(CONFIG_WRITE, W2, 4, 0, 6),
        "P1-half-a-register": op(CONFIG_WRITE, W4, 0x10, 0, 0xFFFFFFFF) + op(CONFIG_READ, W4, 0x10) + op(CONFIG_WRITE, W1, 0x12, 0, 0x55)
                              + op(CONFIG_WRITE, W4, 0x14, 0, 8) + op(CONFIG_WRITE, W8, 0x0C, 0, ALL) + op(bus_reset),
        "P2-storm": start() + b"".join(op(MSIX, i & 1, 8 | 2 | (i & 4) | (i >> 3 & 1), 0xFEE00000 + i, i) + op(signal, i & 1) for i in range(24)),
        "P2-addresses": b"".join(op(MSIX, v, 10, at, v) + op(signal, v) for v in (0, 1, 2, 17, 31) for at in (0, 0xFEE00003, 0xFED00000, 0xFFFFFFFF)),
        "Q10-config": b"".join(op(CONFIG_WRITE, w, reg, 0, ALL) + op(CONFIG_READ, w, reg) for reg in (0, 3, 0x0E, 0x34, 0x40, 0x98, 0xFC, 0xFF, 0x100, 0xFFD) for w in range(4)),
        "Q10-ports": b"".join(op(PORT_WRITE, w | at << 2, 0, 0x80001800 | reg, ALL) + op(PORT_READ, w | at << 2, 0, 0x80001800 | reg)
                              for reg in (0x10, 0x04, 0xFC) for w in range(3) for at in (0, 1, 3, 7)),
        "Q10-window": b"".join(op(CONFIG_WRITE, W4, at + 8, 0, 0x14) + op(CONFIG_WRITE, W4, at + 12, 0, size) + op(CONFIG_WRITE, W1, at + 4, 0, 0)
                               + op(CONFIG_WRITE, W4, at + 16, 0, 0x0F) + op(CONFIG_READ, W4, at + 16) for at in (0x84, 0x88, 0x94) for size in (1, 2, 4, 3, 0)),
        "P-other-slots": b"".join(op(CONFIG_WRITE, 0x80 | slot << 2 | W4, 0x10, 0, ALL) + op(CONFIG_READ, 0x80 | slot << 2 | W4, 0) for slot in (0, 1, 3, 4, 5, 31)),
        "P-needs-reset": start() + op(signal, 0, 0x200) + op(signal, 0, 0x100) + op(COMMON_READ, 20) + start() + op(signal, 0, 0x100),
    }


def link():
    (buffer, segments, dead, frame, no_frame, cursor, chatter, kind, slot, index, turn, geometry, visible, shot, pixels, answer, drop) = range(17)

    def make(name, width, height, padding=0, offset=0, form=0, n=1, length=None, at=0):
        need = (width + padding) * 4 * height + offset * 4
        return op(buffer, name, width | height << 8, padding | offset << 12 | form << 24, n) + op(segments, name, 1, need if length is None else length, at)

    def show(name, width, height, head=0, damage=(0, 0, 255, 255)):
        x, y, w, h = damage
        return op(frame, name, head | 1 << 2, width << 16 | height << 24, x | y << 16 | w << 32 | h << 48) + op(turn, 1)

    good = make(1, 64, 48) + show(1, 64, 48)
    return {
        "K1-frame": good + op(dead, 1) + op(no_frame) + op(turn, 1),
        "K1-scaled": make(1, 33, 17, 3, 5, 2) + show(1, 33, 17) + op(geometry, 0, 100, 37) + op(turn, 1) + op(geometry, 0, 37, 100) + op(turn) * 3,
        "K1-formats": b"".join(make(i + 1, 40, 20, i, i, i) + show(i + 1, 40, 20) for i in range(6)),
        "K1-too-large": make(1, 64, 48, 0, 0, 0, 1, 64 * 48 * 4 - 4) + show(1, 64, 48) + make(2, 255, 255) + show(2, 255, 255) + make(3, 64, 48, 0, 0, 0, 1, 64 * 48 * 4, 0x20000 - 4),
        "K1-segments": op(buffer, 1, 64 | 48 << 8, 0, 4) + op(segments, 1, 3, 4096, 0) + op(segments, 1, 1, 4096, 0x8000) + show(1, 64, 48)
                       + op(buffer, 2, 64 | 48 << 8, 0, 2) + op(segments, 2, 3, 4096, 0) + op(segments, 2, 0xFFFF, 4096) + op(segments, 9, 1, 4, ALL - 3),
        "K1-sizes": b"".join(op(buffer, 1, b, c, d) for b in (0, 1, 0xFFFF) for c in (0, 0xFFF, 0xFFFFFF) for d in (0, 1, 12000, 12001, 0xFFFFFFFF, 1 << 63 | 1, 1 << 62 | 1)),
        "K1-source": make(1, 64, 48) + b"".join(op(frame, 1, 1 << 2, c, ALL) for c in (0, 0x30400001, 0x31400000, 0x30410000, 0xFFFFFFFF, 0x01010000)) + op(turn, 1),
        "K1-dead-on-screen": good + op(dead, 1) + op(dead, 1) + op(dead, 7) + make(1, 64, 48) + op(turn, 1) + make(0x11, 8, 8) + show(0x11, 8, 8) + op(turn),
        "K1-twice": good + make(1, 8, 8) + op(buffer, 2, 0x0808, 0, 2) + op(buffer, 3, 0x0808, 0, 1) + op(dead, 2) + op(segments, 2, 1, 256) + op(turn, 1),
        "K1-cursor": make(2, 64, 64, 0, 0, 1) + good + b"".join(op(cursor, 2, 4, x, y) + op(turn, 1) for x in (0, 60, -63, 0x7FFFFFFF, -0x80000000) for y in (0, -64, 47))
                     + op(cursor, 0, 4, 5, 5) + op(turn, 1) + op(dead, 2) + op(cursor, 2, 4) + op(shot, 2) + op(turn, 1),
        "K1-indices": good + b"".join(op(index, a, 0, c) + op(turn, 1) + op(answer, 0) for a in range(8) for c in (1, 2047, 2048, 2049, 0xFFFFFFFF)),
        "K1-slots": b"".join(op(slot, 0, 0, at, value) for at in (0, 8, 16, 128, 136) for value in (1, 4, ALL, 0x4000000040)) + op(index, 4, 0, 2) + op(turn, 1) * 2,
        "K1-types": b"".join(op(kind, 0, 0xFF, head, t) for t in list(range(12)) + [63, 64, 70, 0xFFFFFFFF] for head in (0, 2, 0xFFFFFFFF)) + op(turn, 1),
        "K1-flood": good + op(chatter, 0) * 30 + op(turn) + op(turn, 1) * 4,
        "K1-shots": good + b"".join(op(shot, a, b, c) for a in range(3) for b in range(3) for c in range(2)) + op(turn, 1) + op(geometry) + op(shot, 0, 2, 1) + op(turn, 1),
        "K1-geometry": good + b"".join(op(geometry, 0, w, h) + show(1, 64, 48) for w, h in ((1, 1), (511, 1), (1, 511), (64, 48), (0, 0), (32, 24))) + op(drop) + op(turn, 1),
        "K1-damage": good + b"".join(show(1, 64, 48, 0, d) for d in ((0, 0, 0, 0), (63, 47, 1, 1), (64, 48, 9, 9), (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), (10, 10, 3, 3))),
        "K1-heads": make(1, 8, 8) + b"".join(show(1, 8, 8, head) + op(no_frame, 0, head) for head in (0, 1, 2, 3, 0x40)) + op(no_frame, 0, 0xFFFF),
        "K1-hidden": op(visible, 1) + good + op(turn) + op(visible, 7) + op(turn),
    }


def gpu():
    command, entries, panel, tick, take, patch, room, look = range(DEVICE, DEVICE + 8)
    (info, create, unref, scanout, flush, transfer, detach, edid, scanout_blob, cursor, move, capset_info, capset, context, submit, uuid, zero, unknown) = range(18)
    fence = 0x8000

    def rect(x, y, w, h):
        return x | y << 16 | w << 32 | h << 48

    def picture(name, w, h, at=DATA + 0x8000):
        return op(command, create, name, w | h << 16) + op(entries, 1, name, (w * h * 4 + 4095) // 4096, at) + op(command, scanout, name, 0, rect(0, 0, w, h))

    def blob(name, w, h, at=DATA + 0x8000):
        pages = (w * h * 4 + 4095) // 4096
        return op(entries, 2, name | pages << 4, pages, at) + op(command, scanout_blob, name, w | h << 16, w * 4)

    def show(name, w, h, flags=0):
        return op(command, transfer, name, 0, rect(0, 0, w, h)) + op(command, flush, name | flags, 7, rect(0, 0, w, h)) + op(take)

    begin = start(256)
    good = begin + op(command, info) + op(command, edid) + picture(1, 64, 64) + show(1, 64, 64)
    return {
        **rings(),
        "G1-sizes": begin + b"".join(op(command, create, i, w | h << 16) + op(entries, 1, i, 4, DATA + 0x8000) + op(command, scanout, i, 0, rect(0, 0, w, h))
                                     for i, (w, h) in enumerate(((0, 0), (0, 64), (64, 0), (0xFFFF, 0xFFFF), (16384, 16384), (16385, 1), (0x4000, 0x8000)), 1)) + op(take),
        "G2-stride": begin + blob(1, 64, 64) + b"".join(op(command, scanout_blob, 1, 64 | 64 << 16, d) for d in (0, 255, 252, 0x7FFFFFFF, 0xFFFFFFFC, 258)) + op(take),
        "G4-offset": begin + blob(1, 64, 64) + b"".join(op(command, scanout_blob, 1, 64 | 64 << 16, 256 | d << 32) for d in (4, 4096, 0xFFFFFFFC, 0xFFFFC000, 3)) + op(take),
        "G5-rectangles": good + b"".join(op(command, kind, 1, 0, r) for kind in (flush, transfer, scanout)
                                         for r in (rect(0, 0, 0, 0), rect(64, 0, 1, 1), rect(0xFFFF, 0, 1, 1), rect(1, 1, 64, 64), rect(1, 1, 0xFFFF, 0xFFFF))) + op(take),
        "G6-small-backing": begin + op(entries, 2, 1 | 5 << 4, 4, DATA) + op(command, scanout_blob, 1, 64 | 64 << 16, 256) + op(command, create, 2, 64 | 64 << 16)
                            + op(entries, 3, 2, 2, DATA) + op(command, scanout, 2, 0, rect(0, 0, 64, 64)) + op(take),
        "G6-smaller-backing-later": begin + blob(1, 64, 64) + op(command, detach, 1) + op(entries, 3, 1, 1, DATA) + op(entries, 3, 1, 4, DATA) + op(command, unref, 1) + op(take),
        "G7-kinds": begin + op(entries, 2, 1, 1, DATA) + op(entries, 2, 1 | 1 << 4, 1, DATA) + op(command, create, 2, 8 | 8 << 16) + op(command, scanout, 1, 0, rect(0, 0, 8, 8))
                    + op(command, scanout_blob, 2, 8 | 8 << 16, 32) + op(command, transfer, 1, 0, rect(0, 0, 8, 8)) + op(command, flush, 1, 0, rect(0, 0, 8, 8)) + op(take),
        "G8-short": good + b"".join(op(room, 0, 0, n) + op(command, kind, 1) for n in (1, 8, 23, 24, 39) for kind in (create, scanout, flush, cursor))
                    + b"".join(op(room, 0, n) + op(command, kind, 1) for n in (1, 2, 24, 25, 100) for kind in (info, edid, capset_info)),
        "G9-heads": good + b"".join(op(command, scanout, 1 | head << 4, 0, rect(0, 0, 64, 64)) + op(command, edid, 0, head) for head in (1, 3, 4, 5, 7)) + op(command, edid, 0, ALL)
                    + b"".join(op(command, 0x80 | cursor, head << 4) for head in (3, 4)),
        "G10-leaks": begin + (picture(1, 64, 64) + op(entries, 1, 1, 4, DATA) + op(command, unref, 1) + op(command, create, 1, 8 | 8 << 16) + op(entries, 1, 1, 4, LOW - 4096)
                              + op(command, detach, 1) + op(command, detach, 1) + op(command, unref, 1)) * 3 + op(take),
        "G11-unref-on-screen": good + op(command, flush, 1, 0, rect(0, 0, 64, 64)) + op(command, unref, 1) + op(take, 1) + picture(1, 64, 64) + show(1, 64, 64)
                               + op(command, scanout, 0) + op(take),
        # What is shown is read after each step of its end, of which the panel has heard nothing yet, and after every single message.
        "G11-looks-between": good + b"".join(step + op(look) for step in (op(command, detach, 1), op(command, unref, 1), op(RESET), begin, picture(1, 32, 32, DATA), op(take, 2, 1),
                                             show(1, 32, 32), op(PAUSE), op(PAUSE, 1), op(command, scanout, 0), op(take, 1, 1), op(RESET, 1), op(take, 0, 1))),
        "G12-many": begin + b"".join(op(command, create, i & 15, 1 << 16 | 1) + op(entries, 1, i & 15, 500 | 500 << 16, DATA) for i in range(40)),
        "G13-entries": good + b"".join(op(entries, 1, 1, c, DATA) for c in (0, 1 | 4 << 16, 4 | 1 << 16, 0xFFFF, 0xFFFF | 1 << 16, 16384 | 2 << 16)) + op(command, unref, 1),
        "G13-huge": begin + op(command, create, 1, 8 | 8 << 16) + op(patch, 0, 0, 28, 0xFFFFFFFFFFFFFFFF) + op(entries, 1, 1, 1, DATA) + op(patch, 0, 0, 36, ALL) + op(entries, 0, 2, 1, DATA),
        "G15-cursor": good + op(command, create, 3, 64 | 64 << 16) + op(entries, 1, 3, 4, DATA) + op(command, 0x80 | cursor, 3, 0, 10 | 10 << 32) + op(take)
                      + op(command, 0x80 | move, 3, 0, ALL) + op(command, 0x80 | cursor, 1, ALL, 0x7FFFFFFF) + op(command, create, 4, 63 | 64 << 16) + op(command, 0x80 | cursor, 4)
                      + op(command, 0x80 | cursor, 9) + op(command, unref, 3) + op(command, 0x80 | cursor, 0) + op(take),
        "G16-unknown": begin + b"".join(op(command, kind | queue << 7, 1 | flag, 5) for kind in (capset_info, capset, context, submit, uuid, zero, unknown)
                                        for queue in (0, 1) for flag in (0, fence)),
        "G17-device": begin + b"".join(op(command, create, i, 64 | 64 << 16) + op(entries, 1, i, 4, at) + op(command, scanout, i, 0, rect(0, 0, 64, 64)) + show(i, 64, 64)
                                       for i, at in enumerate((0xE0000000, 0x800000000, LOW - 0x3000, RINGS, HIGH + 0xF000, ALL - 0xFFF), 1)),
        "G19-resize": good + op(panel, 2, 0, 32 | 32 << 16, 60000) + show(1, 64, 64) + op(panel, 2) + show(1, 64, 64) + op(panel, 2, 0, ALL, ALL) + op(command, info) + op(command, edid),
        "G20-transfer": good + b"".join(op(command, transfer, 1, c, rect(0, 0, 64, 64)) for c in (4, 0x3FFC, 0x4000, 0xFFFFFFFF)) + op(patch, 0, 0, 40, 1 << 32)
                        + op(command, transfer, 1, 0, rect(0, 0, 64, 64)),
        # One resource on all scanouts, of which some have a monitor that goes and comes while fences wait for it.
        "G21-scanouts": begin + picture(1, 64, 64) + b"".join(op(command, scanout, 1 | head << 4, 0, rect(0, 0, 64 - head, 64)) for head in range(4))
                        + op(panel, 2, 1, 64 | 64 << 16, 60000) + op(command, flush, 1 | fence, 1, rect(0, 0, 64, 64)) + op(panel, 2, 1) + op(tick, 0, 0, 0, 17000000)
                        + op(take) + op(command, flush, 1 | fence, 2, rect(0, 0, 64, 64)) + op(take, 2, 3) + op(command, unref, 1) + op(look) + op(take),
        "G-monitors": good + b"".join(op(panel, 2, head, 32 + head | 32 << 16, 60000) for head in range(5)) + op(tick) + op(command, info) + op(panel, 2, 2)
                      + b"".join(op(panel, 2, head) + op(tick) + op(command, info) + b"".join(op(command, edid, 0, i) for i in range(5)) for head in (0, 3, 3))
                      + op(PAUSE) + op(panel, 2, 1) + op(tick) + op(STATE, 1) + op(PAUSE, 1) + op(RESET) + op(tick),
        "G22-reset-with-fences": (begin + picture(1, 64, 64) + op(command, flush, 1 | fence, 1, rect(0, 0, 64, 64)) + op(command, info, fence, 2) + op(RESET)) * 3
                                 + begin + picture(1, 64, 64) + op(command, flush, 1 | fence, 1, rect(0, 0, 64, 64)) + op(take, 2) + op(tick, 0, 0, 0, 50000000) + op(PAUSE) + op(RESET, 1),
        "G23-flood": good + (op(command, transfer, 1, 0, rect(0, 0, 64, 64)) + op(command, flush, 1, 0, rect(0, 0, 64, 64))) * 60 + op(look) + op(take),
        "G-display-while-paused": good + op(PAUSE) + op(STATE, 1) + op(panel, 2, 0, 100 | 100 << 16, 60000) + op(STATE, 8) + op(PAUSE, 1) + op(command, info) + op(command, edid),
        "G-fences": good + op(command, flush, 1 | fence, 1, rect(0, 0, 64, 64)) + op(command, info, fence, 2) + op(tick, 0, 0, 0, 41000000) + op(take)
                    + op(command, flush, 1 | fence, 3, rect(0, 0, 64, 64)) + op(take) + op(panel, 0, 0, 0, ALL),
        "G-blob": begin + blob(1, 64, 64) + show(1, 64, 64) + blob(2, 32, 32, HIGH) + show(2, 32, 32) + op(command, unref, 1) + op(panel, 1, 0, 1, 1) + op(take),
        "G-full-link": begin + b"".join(blob(1 + i % 15, 16, 16, DATA + 0x1000 * (i % 8)) + op(command, flush, 1 + i % 15, 0, rect(0, 0, 16, 16)) + op(command, unref, 1 + i % 15)
                                        for i in range(60)) + op(tick, 0, 0, 0, 2000000) + op(take) + op(take),
    }


def input_():
    packet, time, buffers, status, leds, forget, kind = range(DEVICE, DEVICE + 7)
    key, rel, absolute, led = 1, 2, 3, 17

    def press(device, code, value, count=2, form=key, slow=0):
        return op(packet, device | slow, count, form | code << 16, value)

    fill = start() + op(buffers, 0, 63, 8)
    seeds = {
        **rings(),
        "I1-never-filled": start() + (press(0, 30, 1) + press(0, 30, 0)) * 30 + op(buffers, 0, 40, 8) + press(0, 31, 1),
        "I1-backlog": fill + (press(0, 30, 1, 2, key, 0x80) + press(0, 30, 0, 2, key, 0x80)) * 40 + op(time, 0, 0, 100000) + op(buffers, 0, 63, 8) + op(time, 0, 0, 10000000)
                      + op(forget),
        "I1-small-buffers": start() + op(buffers, 0, 10, 7) + press(0, 30, 1) + start() + op(buffers, 0, 10, 1) + press(0, 30, 1) + start() + op(buffers, 0, 10, 64) + press(0, 30, 1),
        "I2-status": start() + b"".join(op(status, 0, t, c, v) for t in (0, key, led, 0xFFFF) for c in (0, 1, 2, 15, 31, 63, 0xFFFF) for v in (0, 1, ALL)) + op(leds),
        "I2-status-odd": start() + b"".join(op(buffers, 1, 4, n) for n in (1, 7, 8, 9, 16, 4096)) + op(leds),
        "I3-config": b"".join(op(BAR_WRITE, W1, 0, 0x2000, s) + op(BAR_WRITE, W1, 0, 0x2001, u) + op(BAR_READ, W8, 0, 0x2008) + op(BAR_READ, W1, 0, 0x2002)
                              for s in (0, 1, 2, 3, 0x10, 0x11, 0x12, 0xFF) for u in (0, 1, 3, 17, 0xFF)),
        "I-packets": fill + b"".join(press(device, code, ALL, count, form) for device in (0, 1, 2, 9) for code in (0, 1, 0x2FF, 0xFFFF) for count in (0, 1, 12, 13, 0xFFFF)
                                     for form in (key, 0xFFFF))[:16 * 120],
        "I-pause": fill + press(0, 30, 1) + op(PAUSE) + press(0, 30, 0) + op(PAUSE, 1) + op(RESET) + press(0, 31, 1) + fill + press(0, 32, 1),
    }
    for device in (1, 2, 3):
        seeds[f"I-kind-{device}"] = op(kind, device) + fill + b"".join(press(device, code, value, 3, form) for form in (rel, absolute, key) for code in (0, 1, 0x110, 8, 0x34, 0x35, 0x38)
                                                                        for value in (1, 65535, 65536, ALL))
    return seeds


def loader():
    def how(flags=0, ram=31, cmdline=0, initrd=0, grow=0):
        return struct.pack("<BBHIII", flags, ram, cmdline, initrd, grow, 0)

    def bzimage(setup=1, size=0x10000, **fields):
        """A setup header of protocol 2.15 and zeros for code (Documentation/arch/x86/boot.rst)."""
        head = bytearray(0x400)
        values = dict(setup_sects=(0x1F1, "B", setup), syssize=(0x1F4, "I", size // 16), boot_flag=(0x1FE, "H", 0xAA55), jump=(0x200, "H", 0x6AEB),
                      header=(0x202, "4s", b"HdrS"), version=(0x206, "H", 0x020F), loadflags=(0x211, "B", 1), initrd_max=(0x22C, "I", 0x7FFFFFFF),
                      alignment=(0x230, "I", 0x200000), relocatable=(0x234, "B", 1), min_alignment=(0x235, "B", 21), xloadflags=(0x236, "H", 0x3F),
                      cmdline=(0x238, "I", 2047), pref=(0x258, "Q", 0x1000000), init_size=(0x260, "I", 0x200000))
        for name, (at, form, value) in values.items():
            struct.pack_into("<" + form, head, at, fields.get(name, value))
        return bytes(head)

    def elf(segments, entry=0x1000000, phnum=None, phoff=64, **fields):
        """Program headers of (type, offset, paddr, filesz, memsz)."""
        values = dict(kind=2, machine=62, phentsize=56) | fields
        ident = b"\x7fELF" + bytes([fields.get("klass", 2), 1, 1]) + bytes(9)
        head = ident + struct.pack("<HHIQQQIHHHHHH", values["kind"], values["machine"], 1, entry, phoff, 0, 0, 64, values["phentsize"],
                                   len(segments) if phnum is None else phnum, 64, 0, 0)
        return head + b"".join(struct.pack("<IIQQQQQQ", kind, 7, offset, paddr, paddr, filesz, memsz, 4096) for kind, offset, paddr, filesz, memsz in segments)

    zeros = 0x20000
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x1000100) # PVH entry point (include/xen/interface/elfnote.h)
    plain = elf([(1, 0, 0x1000000, 0x1000, 0x2000)])
    return {
        "I4-bzimage": how(0, 31, 0, 0, zeros) + bzimage(),
        "I4-bzimage-all": how(3, 31, 100, 100000, zeros) + bzimage(),
        "I4-bzimage-old": how(3, 31, 100, 100000, zeros) + bzimage(version=0x0206),
        "I4-bzimage-truncated": how() + bzimage(),
        "I4-bzimage-short": how() + bzimage()[:0x210],
        **{f"I4-bzimage-{name}-{i}": how(1, 31, 0, 4096, zeros) + bzimage(**{name: value})
           for name, values in dict(syssize=(0, 1, 0xFFFFFFFF), setup_sects=(0, 64, 255), jump=(0x00EB, 0xFFEB), alignment=(0, 3, 0x80000000), pref=(0, 0xFFFFFFFFFFFFF000, 0x1000001),
                                    init_size=(0, 0xFFFFFFFF, 0x2000000), initrd_max=(0, 0x1000, 0xFFFFFFFF), cmdline=(0, 0xFFFFFFFF), xloadflags=(0,), loadflags=(0,)).items()
           for i, value in enumerate(values)},
        "I4-cmdline": how(2, 31, 2048, 0, zeros) + bzimage(),
        "I4-cmdline-max": how(2, 31, 0xFFFF, 0, zeros) + bzimage(cmdline=0xFFFFFFFF),
        "I4-initrd-huge": how(1, 17, 0, 0x7FFFFF, zeros) + bzimage(),
        "I4-initrd-empty": how(1, 31, 0, 0, zeros) + bzimage(),
        "I4-small-ram": how(0, 0, 0, 0, zeros) + bzimage(),
        "I4-elf": how(3, 31, 10, 5000, zeros) + plain,
        "I4-elf-pvh": how(3, 31, 10, 5000, zeros) + elf([(1, 0, 0x1000000, 0x1000, 0x2000), (4, 64 + 112, 0x1000080, len(note), len(note))]) + note,
        "I4-elf-note-size": how(1, 31, 0, 5000, zeros) + elf([(1, 0, 0x1000000, 0x1000, 0x2000), (4, 64 + 112, 0x1000080, 0xFFFFFFFFFFFF, 20)])
                            + struct.pack("<III4sI", 0xFFFFFFFF, 0xFFFFFFFF, 18, b"Xen\0", 1),
        "I4-elf-overlap": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 0x1000, 0x2000), (1, 0, 0x1001000, 0x1000, 0x1000)]),
        "I4-elf-outside": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 0x1000, 0x2000), (1, 0, 0x1FFF000, 0x1000, 0x2000)]),
        "I4-elf-wraps": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0xFFFFFFFFFFFFF000, 0x1000, 0x2000)], 0xFFFFFFFFFFFFF000),
        "I4-elf-low": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x7000, 0x1000, 0x2000)], 0x7000),
        "I4-elf-file": how(0, 31, 0, 0, zeros) + elf([(1, 0xFFFFFFFFFFFFFFFF, 0x1000000, 2, 2), (1, 0, 0x1000000, 0x3000, 0x2000)]),
        "I4-elf-table": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 1, 1)], phnum=0xFFFF),
        "I4-elf-table-place": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 1, 1)], phoff=0xFFFFFFFFFFFFFFF0),
        "I4-elf-entry": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 1, 1)], 0x1000001),
        "I4-elf-32": how(0, 31, 0, 0, zeros) + elf([(1, 0, 0x1000000, 1, 1)], klass=1, machine=3),
        "I4-nothing": how(), "I4-zimage": how(0, 31, 0, 0, zeros) + bzimage(loadflags=0),
    }


def acpi():
    def shape(cpus, room=0x20000, ram=1 << 30, w32=(0xC0000000, 0x20000000), w64=(0x4000000000, 1 << 34), ecam=(0xE0000000, 0x100000)):
        return struct.pack("<7Q2I", *w32, *w64, *ecam, ram >> 20, cpus - 1, room)

    return {**{f"cpus-{n}": shape(n) for n in (1, 2, 8, 64, 254)}, **{f"room-{n}": shape(254, n) for n in (0, 36, 64, 500, 2000, 8000)},
            "ram-small": shape(1, ram=2 << 20), "ram-large": shape(1, ram=1 << 39), "windows": shape(4, w32=(ALL, ALL), w64=(ALL, ALL), ecam=(ALL, ALL))}


def rng():
    tick, ask = DEVICE, DEVICE + 1
    return {**rings(), "rng-flood": start() + op(ask, 60, 0, 0xFFFF) + op(KICK) + op(tick) + op(ask, 60, 0, 64) + op(tick, 0, 0, 0, 100000000) + op(KICK),
            "rng-one-page-many-times": start() + b"".join(desc(i, DATA, 0x10000, NEXT | WRITE) for i in range(60)) + desc(60, DATA, 1, WRITE) + op(AVAIL) + op(KICK),
            "rng-read-only": start() + chain((DATA, 64, False))}


def console():
    control, give, write, peer, attach, read, hang_up = range(DEVICE, DEVICE + 7)
    hello = start() + op(give, 2, 8, 64) + op(control, 0, 1, 0) + op(control, 0, 1, 3) + op(control, 1, 1, 3) + op(give, 0, 8, 64) + op(give, 4, 8, 64)
    return {
        **rings(),
        "console-both-ways": hello + op(attach, 0) + op(peer, 0, 100) + op(write, 1, 3, 300) + op(read, 0) + op(control, 1, 1, 6) + op(attach, 1) + op(peer, 1, 100)
                             + op(write, 5, 3, 300) + op(read, 1) + op(attach, 0x80),
        "console-control": start() + op(give, 2, 16, 64) + b"".join(op(control, port, value, event) for port in (0, 1, 2, 255) for value in (0, 1, 0xFFFF) for event in range(9)),
        "console-control-odd": start() + b"".join(chain((DATA, n, False), queue=3) for n in (1, 7, 8, 9, 4096)) + b"".join(op(give, 2, 2, n) for n in (1, 7, 8, 20)) + op(control, 0, 1, 0),
        "console-no-buffers": start() + op(control, 0, 1, 0) + op(control, 0, 1, 3) + op(control, 1, 1, 3) + op(attach, 0) + op(peer, 0, 4096) + op(give, 2, 1, 64),
        "console-flood": hello + op(write, 1, 15, 0x10000) * 8 + op(attach, 0) + op(write, 1, 15, 0x10000) * 8 + op(read, 0),
        "console-agent-waits": hello + op(control, 1, 1, 6) + op(attach, 1) + op(write, 5, 15, 0x10000) * 4 + op(read, 1) + op(attach, 0x81) + op(SETTLE),
        "console-peer-lies": hello + op(attach, 0) + op(hang_up, 0, 0, 9) + op(hang_up, 1, 0, 4, ALL) + op(peer, 0, 0xFFFF) * 3 + op(hang_up, 0x80),
        "console-reset": (hello + op(attach, 0) + op(peer, 0, 64) + op(RESET)) * 3 + op(RESET, 1) + hello,
    }


def net():
    send, give, wire = range(DEVICE, DEVICE + 3)

    def packet(size=64, pieces=1, flags=0, kind=0, fields=0):
        return op(send, flags | kind << 4, pieces, size, fields)

    tcp = 54 | 1448 << 16 | 34 << 32 | 16 << 48
    hello = start() + op(give, 0, 20, 1526)
    return {
        **rings(),
        "net-both-ways": hello + packet(1514, 3) + op(wire, 1, 80) + op(wire, 1, 1526),
        "net-offloads": hello + b"".join(packet(4000, 2, flags, kind, tcp) for flags in (0, 1, 2, 3, 7) for kind in (0, 1, 3, 4, 5, 8, 9)) + op(wire, 1),
        "net-headers-lie": hello + b"".join(packet(200, 1, 1, 1, fields) for fields in (0, ALL, 0xFFFF, 0xFFFF << 16, 0xFFFF << 32, 0xFFFF << 48, 199 << 32 | 1 << 48, 54)) + op(wire, 1),
        "net-not-negotiated": start(64, 1 << 32) + packet(200, 1, 1, 1, tcp) + op(give, 0, 4, 1526) + op(wire, 1, 200, 0, 1),
        "net-sizes": hello + b"".join(packet(n, pieces) for n in (0, 1, 13, 14, 65535) for pieces in (0, 1, 7)) + chain((DATA, 11, False), queue=1) + chain((DATA, 12, False), queue=1)
                     + chain((DATA, 5, False), (DATA + 5, 7, False), (DATA + 64, 60, False), queue=1) + op(wire, 1),
        "net-small-buffers": start() + op(give, 0, 10, 11) + op(wire, 0, 100) + start() + op(give, 0, 30, 12) + op(wire, 0, 100) + start() + op(give, 0, 3, 100) + op(wire, 0, 1526),
        "net-short-from-wire": hello + b"".join(op(wire, 0, n) for n in (1, 11, 12, 13)) + op(wire, 2) + packet(100),
        "net-full-wire": hello + packet(60000, 7) * 60 + op(wire, 1) + op(SETTLE) + op(wire, 1),
    }


def text(*lines):
    return "\n".join(lines).encode() + b"\n"


def settings():
    return {
        "file": b"\x00" + text("# all of them", "kernel = /boot/vmlinuz", "initrd=/i", "append = root=/dev/vda console=ttyS0", "memory = 1G", "cpus = 2", "disk = /d,readonly",
                               "disk = mem:64M,serial=x", "display = headless", "mode = 1280x800@60", "scaling = bilinear", "lid = blank", "outputs = extend", "trusted-strip = top", "power-key = ignore", "stats-chord = ctrl+alt+s", "serial = stdio", "features = vmm_hypervisor,dev_scanout",
                               "toggle-key = KEY_PAUSE", "show-key=F1", "hide-key = none", "on-poweroff = exit", "on-reboot=restart", "on-crash = stay", "control = /c", "log-level = debug"),
        "file-broken": b"\x00" + text("[section]", "kernel", "=x", "memory = 99999999999999999999T", "cpus = -1", "\x00\xff", "mode = 0x0@0", "features = none,all,,x", "x" * 400),
        "file-long-line": b"\x00append = " + b"y" * 3000 + b"\n",
        "arguments": b"\x01" + b"\0".join([b"-k", b"/k", b"-i", b"/i", b"-a", b"x", b"-d", b"mem:1G", b"--memory", b"64M", b"--cpus=4", b"--display", b"none", b"--on-crash=exit"]),
        "arguments-broken": b"\x01" + b"\0".join([b"-k", b"--memory", b"--nothing", b"-", b"--", b"x", b"-xyz", b"--cp", b"--cpus="]),
        "help": b"\x01--help", "version": b"\x01-V", "check": b"\x01--check",
        **{f"disk-{i}": b"\x02" + spec for i, spec in enumerate((b"/dev/sda", b"mem:512M,serial=12345678901234567890", b"mem:1", b"mem:99999999999T", b",", b"f,readonly,overlay=mem",
           b"f,overlay=mem:1G,cache=direct,aio=threads,queues=8", b"f,serial=123456789012345678901", b"f,format=qcow2", b"f,queues=0", b"f,queues=99999999999", b"f,,", b"f,cache="))},
        **{f"size-{i}": b"\x03" + size for i, size in enumerate((b"512M", b"18446744073709551615", b"18446744073709551616", b"16777216T", b"-1", b" 1", b"1kk", b""))},
        **{f"mode-{i}": b"\x04" + mode for i, mode in enumerate((b"1280x800", b"1280x800@60", b"1280x800@59.94", b"0x0", b"4294967296x1", b"1x1@4294967.296", b"x", b"1x"))},
        **{f"key-{i}": b"\x05" + key for i, key in enumerate((b"KEY_PAUSE", b"`", b"f11", b"none", b"A" * 80, b"KEY_", b"0x1d", b"ctrl"))},
        **{f"net-{i}": b"\x06" + net for i, net in enumerate((b"tap=tap0", b"fd:5", b"tap=" + b"x" * 40, b"fd:-1", b"tap=tap0,mac=52:54:00:12:34:56", b"fd:99999999999"))},
    }


def control():
    lines = ({"command": "status"}, {"command": "stats", "id": 1}, {"command": "show", "arguments": {"what": "guest"}}, {"command": "press", "arguments": {"keys": ["KEY_A"]}},
             {"command": "type", "arguments": {"text": "Hello\n"}}, {"command": "pointer", "arguments": {"x": 1, "y": 65535}}, {"command": "click", "arguments": {"button": "BTN_LEFT"}},
             {"command": "vm", "arguments": {"action": "reset"}}, {"command": "screenshot", "arguments": {"what": "screen"}}, {"command": "wait", "arguments": {"for": "running", "timeout": 0}},
             {"command": "subscribe"}, {"command": "quit"}, {"command": "console", "arguments": {"port": "com1"}})
    import json
    each = {f"line-{i}": text(json.dumps(line)) for i, line in enumerate(lines)}
    return {**each, "all": text(*(json.dumps(line) for line in lines)), "nothing": b"\n\n\n", "types": text("1", "null", "[]", '"x"', "{}", '{"command":1}', '{"command":"type","arguments":[]}'),
            "deep": b"[" * 200 + b"\n", "broken": text('{"command":"status"', "}", '{"command":"sta\\u0000tus"}', '{"id":{"a":[1,2]},"command":"status"}', "\xff\xfe"),
            "numbers": text('{"command":"pointer","arguments":{"x":-1,"y":1e400}}', '{"command":"wait","arguments":{"for":"x","timeout":99999999999999999999}}')}


SEEDS = {"acpi": acpi, "blk": blk, "console": console, "control": control, "gpu": gpu, "input": input_, "link": link, "loader": loader, "net": net, "pci": pci, "rng": rng,
         "settings": settings}
