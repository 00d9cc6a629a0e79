# SPDX-License-Identifier: MIT
"""The corpus' hand-made part: one input for each way in which a virtual machine monitor has been broken before.

Names begin with the row of the list of known attacks that they embody (Q rings and transport, B disk, P bus, K link,
G gpu, I input and boot). Operations are those of guest.h, fuzz_*.c.
"""

import struct

LOW = 0x80000
HIGH = 0x100000000
RINGS, AVAIL_AT, USED_AT = 0x10000, 0x1000, 0x2000
DATA = 0x40000
ALL = 0xFFFFFFFFFFFFFFFF
NO_EVENT_IDX = ALL & ~(1 << 29)

(RAM, DESC, DESC_NEXT, AVAIL, AVAIL_INDEX, KICK, COMMON_WRITE, COMMON_READ, BAR_WRITE, BAR_READ, CONFIG_WRITE, CONFIG_READ,
 PORT_WRITE, PORT_READ, MMIO_WRITE, MMIO_READ, HANDSHAKE, RESET, PAUSE, SETTLE, MSIX, EVENT, REFUSE, MOVE_BAR, SELECT) = range(25)
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
        "Q6-ahead": start() + op(AVAIL_INDEX, 0, 65) + kick + start() + op(AVAIL_INDEX, 0, 0x8000) + kick,
        "Q7-locked": start() + op(COMMON_WRITE, 24, 1, 0, 16) + op(COMMON_WRITE, 32, 3, 0, LOW) + op(COMMON_WRITE, 40, 2, 0, 1) + good,
        "Q7-sizes": b"".join(start(size) + good for size in (0, 1, 2, 3, 255, 256, 257, 0x8000)),
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
        "Q-rings-in-each-other": op(RESET) + start(64, ALL, 0xFF) + op(RESET) + op(COMMON_WRITE, 20, 0, 0, 3) + op(COMMON_WRITE, 8, 2, 0, 1)
                                 + op(COMMON_WRITE, 12, 2, 0, 1) + op(COMMON_WRITE, 20, 0, 0, 11) + op(SELECT) + op(COMMON_WRITE, 32, 3, 0, RINGS)
                                 + op(COMMON_WRITE, 40, 3, 0, RINGS + 0x1000) + op(COMMON_WRITE, 48, 3, 0, RINGS + 0x1000)
                                 + op(COMMON_WRITE, 28, 1, 0, 1) + op(COMMON_WRITE, 20, 0, 0, 15) + good + good,
    }


def blk():
    request, ranges, disk = DEVICE, DEVICE + 1, DEVICE + 2
    sectors = 0x40000 // 512

    def io(kind, sector, length, pieces=1, odd=0, at=0):
        return op(request, kind, at, length | (pieces - 1) << 28 | odd, sector) + op(KICK)

    return {
        **rings(),
        "B-read-write": start() + io(1, 0, 4096, 3) + io(0, 0, 4096, 2, 0, 0x400) + io(4, 0, 0) + io(8, 0, 20),
        "B1-past-end": start() + io(0, sectors, 512) + io(0, sectors - 1, 1024, 2) + io(1, 0x80000000000000, 512) + io(1, ALL, 512),
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
        "B-data-over-ring": start() + io(1, 0, 4096, 1, 0, 0) + op(request, 0, 0xD000 // 16, 4096, 0) + op(KICK) + chain((0x30000, 16, False), (RINGS, 8192, True), (DATA, 1, True)),
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
        "P2-addresses": b"".join(op(MSIX, v, 10, at, v) + op(signal, v) for v in (0, 1, 2, 31) for at in (0, 0xFEE00003, 0xFED00000, 0xFFFFFFFF)),
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
        "K1-heads": make(1, 8, 8) + b"".join(show(1, 8, 8, head) + op(no_frame, 0, head) for head in range(4)) + op(no_frame, 0, 0xFFFF),
        "K1-hidden": op(visible, 1) + good + op(turn) + op(visible, 7) + op(turn),
    }


SEEDS = {"blk": blk, "pci": pci, "link": link}
