"""Two sessions over a socket pair, and handlers that keep what happens."""

import asyncio
import socket
import time
from collections.abc import Callable

from portico.tunnel.events import Event
from portico.tunnel.handler import StreamHandler
from portico.tunnel.session import Session
from portico.tunnel.transport import SessionProtocol, Stream

OnStream = Callable[[Stream], StreamHandler | None]


class Recorder(StreamHandler):
    """Keeps what happens on a stream."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.eof = asyncio.Event()
        self.lost: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.eof.set()

    def connection_lost(self, code: int | None) -> None:
        self.lost.set_result(code)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class Pair:
    """An agent's and a relay's session over a socket pair."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[str]] = {}
        self.events: list[Event] = []
        self.on_stream: OnStream = lambda _: None

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        self.agent = await self._side("agent", ours, client=True)
        self.relay = await self._side("relay", theirs, client=False)

    async def _side(self, name: str, sock: socket.socket, *, client: bool) -> SessionProtocol:
        sock.setblocking(False)
        protocol = self.protocol(name, client=client)
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=sock)
        return protocol

    def protocol(self, name: str, *, client: bool) -> SessionProtocol:
        """One side, not connected yet."""
        end = self.ends[name] = asyncio.get_running_loop().create_future()
        return SessionProtocol(
            Session(client=client, now=time.monotonic()), self._opened, end.set_result, self.events.append
        )

    def _opened(self, stream: Stream) -> StreamHandler | None:
        return self.on_stream(stream)

    async def streams(
        self, kind: int = 3, opener: SessionProtocol | None = None
    ) -> tuple[Stream, Recorder, Stream, Recorder]:
        """One stream, both ends: that of the side that opened it (the relay), then the other."""
        opened: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        near, far = Recorder(), Recorder()

        def accept(stream: Stream) -> StreamHandler:
            opened.set_result(stream)
            return far

        self.on_stream = accept
        stream = (opener or self.relay).open(kind, near)
        return stream, near, await asyncio.wait_for(opened, 30), far
