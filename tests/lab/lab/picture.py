# SPDX-License-Identifier: MIT
"""Pictures of the screen: read PPM and PNG, ask about pixels, write PNG. Standard library only."""

import hashlib
import struct
import zlib


def _unfilter(kind, row, above):
    """Undo a PNG row's filter in place (PNG specification, 9.2); three bytes a pixel, ABOVE is the finished row before."""
    if kind == 1:
        for at in range(3, len(row)):
            row[at] = (row[at] + row[at - 3]) & 255
    elif kind == 2:
        row[:] = bytes((a + b) & 255 for a, b in zip(row, above))
    elif kind == 3:
        for at, up in enumerate(above):
            row[at] = (row[at] + ((row[at - 3] if at > 2 else 0) + up) // 2) & 255
    elif kind == 4:
        for at, up in enumerate(above):
            left, corner = (row[at - 3], above[at - 3]) if at > 2 else (0, 0)
            estimate = left + up - corner
            row[at] = (row[at] + min((left, up, corner), key=lambda value: abs(estimate - value))) & 255
    elif kind:
        raise ValueError(f"PNG filter {kind}")


class Picture:
    """An RGB picture: `width`, `height` in pixels, `data` three bytes a pixel, rows from the top without padding."""

    def __init__(self, width, height, data):
        if len(data) != width * height * 3:
            raise ValueError(f"{width}x{height} needs {width * height * 3} bytes, got {len(data)}")
        self.width = width
        self.height = height
        self.data = bytes(data)

    @classmethod
    def from_ppm(cls, raw):
        """Parse a binary PPM (P6, 8 bit)."""
        fields, at = [], 0
        while len(fields) < 4:
            while at < len(raw) and raw[at:at + 1].isspace():
                at += 1
            if raw[at:at + 1] == b"#":
                at = raw.index(b"\n", at)
                continue
            end = at
            while end < len(raw) and not raw[end:end + 1].isspace():
                end += 1
            if end == at:
                raise ValueError("truncated PPM")
            fields.append(raw[at:end])
            at = end
        if fields[0] != b"P6" or fields[3] != b"255":
            raise ValueError("not an 8-bit binary PPM")
        width, height = int(fields[1]), int(fields[2])
        return cls(width, height, raw[at + 1:at + 1 + width * height * 3])

    @classmethod
    def from_png(cls, raw):
        """Parse a PNG of 8-bit RGB without interlace."""
        if raw[:8] != b"\x89PNG\r\n\x1a\n":
            raise ValueError("not a PNG")
        at, head, packed = 8, None, b""
        while at + 12 <= len(raw):
            length, kind = struct.unpack(">I4s", raw[at:at + 8])
            body = raw[at + 8:at + 8 + length]
            if kind == b"IHDR":
                head = struct.unpack(">IIBBBBB", body)
            elif kind == b"IDAT":
                packed += body
            at += 12 + length
        if head is None or head[2:] != (8, 2, 0, 0, 0):
            raise ValueError("not an 8-bit RGB PNG without interlace")
        width, height = head[:2]
        plain, stride = zlib.decompress(packed), width * 3
        if len(plain) != (stride + 1) * height:
            raise ValueError("truncated PNG")
        rows, above = [], bytes(stride)
        for start in range(0, len(plain), stride + 1):
            row = bytearray(plain[start + 1:start + 1 + stride])
            _unfilter(plain[start], row, above)
            rows.append(row)
            above = row
        return cls(width, height, b"".join(rows))

    @property
    def size(self):
        return self.width, self.height

    def __eq__(self, other):
        return isinstance(other, Picture) and self.size == other.size and self.data == other.data

    def __hash__(self):
        return hash((self.size, self.data))

    def digest(self):
        """A short text that is equal for equal pictures."""
        return hashlib.sha256(struct.pack("<II", *self.size) + self.data).hexdigest()[:16]

    def pixel(self, x, y):
        """(r, g, b) at X, Y; negative numbers count from the right and the bottom."""
        x, y = x + self.width * (x < 0), y + self.height * (y < 0)
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise IndexError(f"pixel {x},{y} outside {self.width}x{self.height}")
        at = (y * self.width + x) * 3
        return tuple(self.data[at:at + 3])

    def crop(self, x, y, width, height):
        """The part WIDTH x HEIGHT at X, Y as a new picture."""
        if x < 0 or y < 0 or width <= 0 or height <= 0 or x + width > self.width or y + height > self.height:
            raise IndexError(f"{width}x{height}+{x}+{y} is not inside {self.width}x{self.height}")
        stride = self.width * 3
        start = y * stride + x * 3
        rows = [self.data[start + row * stride:start + row * stride + width * 3] for row in range(height)]
        return Picture(width, height, b"".join(rows))

    def average(self, x=0, y=0, width=None, height=None):
        """Average colour of a part (default: of everything) as three floats."""
        part = self.crop(x, y, width or self.width - x, height or self.height - y)
        count = part.width * part.height
        return tuple(sum(part.data[channel::3]) / count for channel in range(3))

    def colours(self):
        """{(r, g, b): number of pixels}."""
        counts = {}
        for (pixel,) in struct.iter_unpack("3s", self.data):
            counts[pixel] = counts.get(pixel, 0) + 1
        return {tuple(key): value for key, value in counts.items()}

    def fraction(self, colour, tolerance=0):
        """How much of the picture (0..1) is COLOUR, each channel within TOLERANCE."""
        near = sum(count for have, count in self.colours().items()
                   if all(abs(a - b) <= tolerance for a, b in zip(have, colour)))
        return near / (self.width * self.height)

    def is_uniform(self):
        """True when all pixels are equal (a black frame, for one)."""
        return self.data == self.data[:3] * (self.width * self.height)

    def is_black(self):
        return not any(self.data)

    def difference(self, other):
        """Number of pixels that differ from OTHER; pictures of different size differ everywhere."""
        if self.size != other.size:
            return max(self.width * self.height, other.width * other.height)
        if self.data == other.data:
            return 0
        stride, changed = self.width * 3, 0
        for start in range(0, len(self.data), stride):
            mine, theirs = self.data[start:start + stride], other.data[start:start + stride]
            if mine != theirs:
                changed += sum(mine[at:at + 3] != theirs[at:at + 3] for at in range(0, stride, 3))
        return changed

    def save(self, path):
        """Write a PNG (8-bit RGB, no filter)."""
        stride = self.width * 3
        rows = b"".join(b"\0" + self.data[at:at + stride] for at in range(0, len(self.data), stride))
        with open(path, "wb") as out:
            out.write(b"\x89PNG\r\n\x1a\n")
            for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)),
                               (b"IDAT", zlib.compress(rows, 3)), (b"IEND", b"")):
                out.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
