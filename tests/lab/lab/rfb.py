# SPDX-License-Identifier: MIT
"""Just enough of VNC (RFC 6143) to plug, unplug and resize a head: SetDesktopSize is what a viewer's window would say."""

import socket
import struct

from .errors import LabError

ENCODING_EXTENDED_DESKTOP_SIZE = -308   # registry of the RFB community wiki
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


def set_desktop_size(path, width, height, timeout=10):
    """Tell the head behind the unix socket PATH its new size in pixels; 0x0 unplugs it."""
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
        connection.sendall(struct.pack(">BxHi", MESSAGE_SET_ENCODINGS, 1, ENCODING_EXTENDED_DESKTOP_SIZE))
        connection.sendall(struct.pack(">BxHHBx", MESSAGE_SET_DESKTOP_SIZE, width, height, 1)
                           + struct.pack(">IHHHHI", 0, 0, 0, width, height, 0))
        # The answer (a pseudo rectangle) tells that the request was read; closing before that could lose it.
        _read(connection, 4)
