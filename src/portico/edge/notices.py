"""How control tells the supervisor that it serves: the protocol of systemd's sd_notify(3).

One datagram holds lines `NAME=value`: `READY=1` says that everything serves, and our own `X_PORTICO_XDS=1` that Envoy
may come for its configuration.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"


def notify(line: str) -> None:
    """Send one line to whoever started this process; nothing happens where nobody asked for it."""
    path = os.environ.get(VARIABLE)
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # An abstract socket is written with a leading @ (sd_notify(3)).
            sender.connect("\0" + path[1:] if path.startswith("@") else path)
            sender.send(line.encode())


class NoticeReceiver(asyncio.DatagramProtocol):
    """The supervisor's end."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line

    @classmethod
    async def listen(cls, path: Path, on_line: Callable[[str], None]) -> asyncio.DatagramTransport:
        """Receive on a Unix socket at `path`."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        receiver.bind(str(path))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(on_line), sock=receiver)
        return transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        """One datagram of lines."""
        for line in data.decode(errors="replace").splitlines():
            self._on_line(line)
