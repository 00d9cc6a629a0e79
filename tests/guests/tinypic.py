#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Reads the picture of the tiny guest (tiny/picture.c paints it; the numbers are the same).

A picture is (width, height, RGB bytes). All functions take an optional rectangle (x, y, width, height) of the picture that holds the
guest's whole screen, for a letterboxed panel, and the guest's own size where it was scaled on the way; without scaling the colours must
be exact, with scaling they may be off a little and are read in the middle of each block.

    picture = load_ppm("screen.ppm")
    where = find(picture)                     # (x, y, w, h) of the guest on a panel, None: it is not there
    seen = read(picture, where)               # Seen(counter=17, key=30, key_down=False, torn=False)

Run as a program: tinypic.py FILE.ppm... prints what each holds; tinypic.py --self-test.
"""

import sys
from collections import namedtuple

BACKGROUND = (0x30, 0x50, 0x70)
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
KEY_ZERO, KEY_ONE, KEY_UP, KEY_DOWN = (0, 64, 64), (0, 255, 255), (128, 128, 128), (255, 0, 255)
CORNER = 64
BLOCK = 16
STRIP_X = 100
COUNTER_Y = 100
KEY_Y = 148
FOOT = 116

Picture = namedtuple("Picture", "width height rgb")
Seen = namedtuple("Seen", "counter key key_down torn")


class NotTiny(ValueError):
    """The picture is not the tiny guest's."""


def load_ppm(path):
    """A binary PPM (P6, 8 bits), as QEMU's screendump writes it."""
    with open(path, "rb") as file:
        data = file.read()
    words, at = [], 0
    while len(words) < 4:
        while data[at:at + 1].isspace():
            at += 1
        if data[at:at + 1] == b"#":
            at = data.index(b"\n", at)
            continue
        end = at
        while end < len(data) and not data[end:end + 1].isspace():
            end += 1
        if end == at:
            raise ValueError(f"{path}: not a PPM")
        words.append(data[at:end])
        at = end
    if words[0] != b"P6" or words[3] != b"255":
        raise ValueError(f"{path}: not a binary PPM of 8 bits")
    width, height = int(words[1]), int(words[2])
    rgb = data[at + 1:at + 1 + width * height * 3]
    if len(rgb) != width * height * 3:
        raise ValueError(f"{path}: truncated")
    return Picture(width, height, rgb)


def pixel(picture, x, y):
    width, height, rgb = picture
    if not (0 <= x < width and 0 <= y < height):
        raise NotTiny(f"{x},{y} is outside of {width}x{height}")
    at = (y * width + x) * 3
    return tuple(rgb[at:at + 3])


class _View:
    """The guest's screen in a picture: guest coordinates to colours."""

    def __init__(self, picture, rectangle, size):
        self.picture = picture
        self.x, self.y, self.w, self.h = rectangle or (0, 0, picture[0], picture[1])
        self.width, self.height = size or (self.w, self.h)
        self.tolerance = 0 if (self.width, self.height) == (self.w, self.h) else 8

    def at(self, x, y):
        return pixel(self.picture, self.x + (2 * x + 1) * self.w // (2 * self.width),
                     self.y + (2 * y + 1) * self.h // (2 * self.height))

    def choose(self, x, y, *colours):
        """Which of the colours is at this place."""
        seen = self.at(x, y)
        for index, colour in enumerate(colours):
            if all(abs(a - b) <= self.tolerance for a, b in zip(seen, colour)):
                return index
        raise NotTiny(f"{x},{y} is {seen}, not one of {colours}")

    def bits(self, y, count, zero, one):
        value = 0
        for index in range(count):
            value = value << 1 | self.choose(STRIP_X + index * BLOCK + BLOCK // 2, y + BLOCK // 2, zero, one)
        return value

    def corners(self):
        # First and last pixel of each square where nothing is scaled: a picture shifted by one pixel is found out.
        edge = 0 if not self.tolerance else 2
        for left, top, colour in ((0, 0, RED), (self.width - CORNER, 0, GREEN), (0, self.height - CORNER, BLUE),
                                  (self.width - CORNER, self.height - CORNER, YELLOW)):
            for x in (left + edge, left + CORNER - 1 - edge):
                for y in (top + edge, top + CORNER - 1 - edge):
                    self.choose(x, y, colour)
        self.choose(self.width // 2, 8, BACKGROUND)
        self.choose(8, self.height // 2, BACKGROUND)
        self.choose(CORNER + edge, 0 + edge, BACKGROUND)
        self.choose(self.width - 1 - edge, self.height - CORNER - 1 - edge, BACKGROUND)


def read(picture, rectangle=None, size=None):
    """What the guest's screen says. Raises NotTiny with the first place that is wrong.

    torn: the counter at the top and the one at the foot differ, or the counter and its inverse do: parts of two frames."""
    view = _View(picture, rectangle, size)
    view.corners()
    counter = view.bits(COUNTER_Y, 32, BLACK, WHITE)
    inverse = view.bits(COUNTER_Y + BLOCK, 32, BLACK, WHITE)
    foot = view.bits(view.height - FOOT, 32, BLACK, WHITE)
    key = view.bits(KEY_Y, 16, KEY_ZERO, KEY_ONE)
    down = view.choose(STRIP_X + 17 * BLOCK + BLOCK // 2, KEY_Y + BLOCK // 2, KEY_UP, KEY_DOWN)
    return Seen(counter, key, bool(down), counter != foot or counter != inverse ^ 0xffffffff)


def is_tiny(picture, rectangle=None, size=None):
    """Whether the rectangle holds the tiny guest's screen, and that alone is meant: corners, background, both counters, key."""
    try:
        read(picture, rectangle, size)
    except NotTiny:
        return False
    return True


def counter(picture, rectangle=None, size=None):
    """The frame counter."""
    return read(picture, rectangle, size).counter


def find(picture):
    """The rectangle of an unscaled or scaled guest screen on a panel, by its corners; None when it is not there."""
    width, height, rgb = picture
    rgb = bytes(rgb)
    red = bytes(RED) * 8
    for y in range(height):
        row = rgb[y * width * 3:(y + 1) * width * 3]
        at = row.find(red)
        while at >= 0 and at % 3:
            at = row.find(red, at + 1)
        if at < 0:
            continue
        x = at // 3
        right = row.rfind(bytes(GREEN) * 8)
        if right < 0:
            return None
        while right % 3:
            right -= 1
        w = right // 3 + 8 - x
        column = [pixel(picture, x, line) for line in range(y, height)]
        blue = [index for index, colour in enumerate(column) if colour == BLUE]
        return (x, y, w, blue[-1] + 1) if blue else None
    return None


def draw(width, height, count, key=0, key_down=False, foot=None):
    """The picture that the guest paints, for tests."""
    rows = [bytearray(bytes(BACKGROUND) * width) for _ in range(height)]

    def fill(x, y, w, h, colour):
        for row in rows[y:y + h]:
            row[x * 3:(x + w) * 3] = bytes(colour) * max(0, min(w, width - x))

    def bits(y, total, value, zero, one):
        for index in range(total):
            fill(STRIP_X + index * BLOCK, y, BLOCK, BLOCK, one if value >> (total - 1 - index) & 1 else zero)

    fill(0, 0, CORNER, CORNER, RED)
    fill(width - CORNER, 0, CORNER, CORNER, GREEN)
    fill(0, height - CORNER, CORNER, CORNER, BLUE)
    fill(width - CORNER, height - CORNER, CORNER, CORNER, YELLOW)
    bits(COUNTER_Y, 32, count, BLACK, WHITE)
    bits(COUNTER_Y + BLOCK, 32, count ^ 0xffffffff, BLACK, WHITE)
    bits(KEY_Y, 16, key, KEY_ZERO, KEY_ONE)
    fill(STRIP_X + 17 * BLOCK, KEY_Y, BLOCK, BLOCK, KEY_DOWN if key_down else KEY_UP)
    bits(height - FOOT, 32, count if foot is None else foot, BLACK, WHITE)
    return Picture(width, height, b"".join(bytes(row) for row in rows))


def place(picture, panel_width, panel_height, x, y, w, h):
    """The picture scaled (nearest pixel) into a rectangle of a black panel, for tests."""
    width, height, rgb = picture
    rows = []
    for row in range(panel_height):
        line = bytearray(panel_width * 3)
        if y <= row < y + h:
            source = ((row - y) * height // h) * width
            for column in range(w):
                at = (source + column * width // w) * 3
                line[(x + column) * 3:(x + column) * 3 + 3] = rgb[at:at + 3]
        rows.append(bytes(line))
    return Picture(panel_width, panel_height, b"".join(rows))


def self_test():
    for width, height in ((640, 480), (1280, 800)):
        for count in (0, 1, 0x80000001, 0xdeadbeef, 0xffffffff):
            picture = draw(width, height, count, 41, True)
            assert read(picture) == Seen(count, 41, True, False), (width, height, count, read(picture))
            assert find(picture) == (0, 0, width, height), find(picture)
    picture = draw(800, 600, 77, 30)
    assert is_tiny(picture) and counter(picture) == 77
    assert read(draw(800, 600, 77, foot=78)).torn

    # Letterboxed without scaling, and scaled up and down.
    panel = place(picture, 1280, 800, 240, 100, 800, 600)
    assert find(panel) == (240, 100, 800, 600), find(panel)
    assert counter(panel, (240, 100, 800, 600)) == 77
    assert not is_tiny(panel)
    assert not is_tiny(panel, (241, 100, 800, 600)) and not is_tiny(panel, (240, 99, 800, 600)), "one pixel off must show"
    for w, h, x, y in ((1066, 800, 107, 0), (640, 480, 320, 160)):
        panel = place(picture, 1280, 800, x, y, w, h)
        assert find(panel) == (x, y, w, h), find(panel)
        assert read(panel, (x, y, w, h), (800, 600)) == Seen(77, 30, False, False)

    # What is not the guest's picture.
    for rgb in (bytes(800 * 600 * 3), bytes(BACKGROUND) * (800 * 600)):
        assert not is_tiny((800, 600, rgb)) and find((800, 600, rgb)) is None
    spoilt = bytearray(picture.rgb)
    spoilt[(COUNTER_Y + 8) * 800 * 3 + (STRIP_X + 8) * 3] = 9
    assert not is_tiny(Picture(800, 600, bytes(spoilt)))
    assert not is_tiny((10, 10, bytes(300)))
    swapped = b"".join(bytes((picture.rgb[i + 2], picture.rgb[i + 1], picture.rgb[i])) for i in range(0, len(picture.rgb), 3))
    assert not is_tiny(Picture(800, 600, swapped)), "red and blue exchanged must show"
    print("tinypic: self test passed")


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    if not arguments or arguments[0].startswith("-"):
        print("usage: tinypic.py FILE.ppm... | --self-test", file=sys.stderr)
        return 2
    failed = 0
    for path in arguments:
        picture = load_ppm(path)
        where = find(picture)
        try:
            if where is None:
                raise NotTiny("no corner is to be seen")
            print(f"{path}: {picture.width}x{picture.height}, guest at {where}: {read(picture, where)}")
        except NotTiny as error:
            print(f"{path}: {picture.width}x{picture.height}: not the tiny guest: {error}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
