"""A bind: a listening Unix socket whose connections become streams of one agent session."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portico.model.errors import ErrorCode
from portico.relay.carriage import Carrier
from portico.relay.link import BindLease
from portico.relay.visitors import Visitor

if TYPE_CHECKING:
    from portico.relay.websocket_converter import WebSocketVisitor

BACKLOG: Final = 1024


class SocketPaths:
    """Gives each bind a path that none had before, of this process or an earlier one: Envoy may still know the old."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._epoch = f"{time.time_ns() // 1_000_000:x}"
        self._numbers = itertools.count(1)

    def clean(self) -> None:
        """Remove what earlier processes left."""
        for path in self._directory.glob("*-*.sock"):
            path.unlink(missing_ok=True)

    def next(self) -> str:
        """A new path."""
        return str(self._directory / f"{self._epoch}-{next(self._numbers)}.sock")


class Bind:
    """Listens at once, so that the kernel keeps early visitors; `serve` begins to take them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lease: BindLease | None = None
        self.visitors: Collection[Visitor | WebSocketVisitor] = ()
        self.failure: tuple[ErrorCode, str] | None = None
        """What the agent said last of a failure of the upstream."""
        self.failed_at = 0.0
        self._server: asyncio.Server | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(path)
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise

    async def serve(self, lease: BindLease, carrier: Carrier) -> None:
        """Turn visitors into streams of `carrier`."""
        self.lease = lease
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._welcome(lease, carrier), sock=self._socket, backlog=BACKLOG)

    def _welcome(self, lease: BindLease, carrier: Carrier) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a visitor's connection."""
        if not lease.websocket_bytes:
            visitors: set[Visitor] = set()
            self.visitors = visitors
            return lambda: Visitor(lease, carrier, visitors)
        from portico.relay.websocket_converter import WebSocketVisitor

        websockets: set[WebSocketVisitor] = set()
        self.visitors = websockets
        return lambda: WebSocketVisitor(lease, carrier, websockets)

    def close(self) -> None:
        """Stop listening; visitors who are connected stay."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        if self._server is not None:
            self._server.close()
        self._socket.close()

    def cut(self) -> None:
        """Cut every visitor's connection."""
        for visitor in list(self.visitors):
            visitor.cut()
