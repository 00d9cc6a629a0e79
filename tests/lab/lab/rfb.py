# SPDX-License-Identifier: MIT
"""Just enough of VNC (RFC 6143) to plug, unplug and resize a head (SetDesktopSize is what a viewer's window would say), and to see its hardware cursor."""

import contextlib
import socket
import struct

from .errors import LabError

ENCODING_EXTENDED_DESKTOP_SIZE = -308   # registry of the RFB community wiki
ENCODING_CURSOR_WITH_ALPHA = -314
MESSAGE_SET_ENCODINGS = 2
MESSAGE_SET_DESKTOP_SIZE = 251


def _read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise LabError("QEMU's VNC server closed the connection")
        data += part
    return data


@contextlib.contextmanager
def _viewer(path, encoding, timeout):
    """A connection to the unix socket PATH that understands one ENCODING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        _read(connection, 12)                               # "RFB 003.008\n"
        connection.sendall(b"RFB 003.008\n")
        kinds = _read(connection, _read(connection, 1)[0])
        if 1 not in kinds:
            raise LabError("QEMU's VNC server wants authentication")
        connection.sendall(b"\1")                           # none
        if struct.unpack(">I", _read(connection, 4))[0]:
            raise LabError("QEMU's VNC server refused us")
        connection.sendall(b"\1")                           # shared
        header = _read(connection, 24)
        _read(connection, struct.unpack(">I", header[20:])[0])
        connection.sendall(struct.pack(">BxHi", MESSAGE_SET_ENCODINGS, 1, encoding))
        yield connection


def set_desktop_size(path, width, height, timeout=10):
    """Tell the head behind the unix socket PATH its new size in pixels; 0x0 unplugs it."""
    with _viewer(path, ENCODING_EXTENDED_DESKTOP_SIZE, timeout) as connection:
        connection.sendall(struct.pack(">BxHHBx", MESSAGE_SET_DESKTOP_SIZE, width, height, 1)
                           + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0))
        # The answer (a pseudo rectangle) tells that the request was read; closing before that could lose it.
        _read(connection, 4)


def cursor(path, timeout=10):
    """The picture on the hardware cursor of the head behind the unix socket PATH: hot x, hot y, width, height, RGBA bytes."""
    with _viewer(path, ENCODING_CURSOR_WITH_ALPHA, timeout) as connection:
        _kind, count = struct.unpack(">BxH", _read(connection, 4))
        hot_x, hot_y, width, height, encoding = struct.unpack(">HHHHi", _read(connection, 12))
        if count != 1 or encoding != ENCODING_CURSOR_WITH_ALPHA or struct.unpack(">i", _read(connection, 4))[0] != 0:
            raise LabError(f"QEMU's VNC server answered with {count} rectangles, encoding {encoding}")
        return hot_x, hot_y, width, height, _read(connection, width * height * 4)
