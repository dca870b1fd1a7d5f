"""What the kernel takes of a relay at once, on its way to Envoy."""

import asyncio
import socket
from typing import Final

BYTES: Final = 0x40000
"""Linux doubles it, for its own records (socket(7)); it needs no more than the usual limit, net.core.wmem_max."""
BULK: Final = 0x10000
"""Bytes at once from which a visitor's socket is worth it: it is a system call, and memory where he does not read."""


def widen(transport: asyncio.BaseTransport) -> None:
    """Let a socket take all that one read of another has brought.

    By itself a Unix socket takes 214 KiB, a little less than the 256 KiB that a session reads or writes at once; each
    rest is a write that fails, a wait, and one more turn for both ends.
    """
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < BYTES:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BYTES)
