"""How fast the tunnel is: a pair of sessions in memory, then the whole way of a visitor's bytes on uvloop.

    python -m benchmarks.tunnel_core [--profile NAME]

The way is: visitor ─socket─ splice ─ session ═socket═ session ─ splice ─socket─ upstream, in one process and thread:
both ends' work is in each figure, so a relay or an agent alone does about twice as well.
"""

import argparse
import asyncio
import cProfile
import pstats
import socket
import time
from collections.abc import Awaitable, Callable

import uvloop

from portico.tunnel.events import Data
from portico.tunnel.handler import StreamHandler
from portico.tunnel.session import Session
from portico.tunnel.splice import Splice
from portico.tunnel.transport import SessionProtocol, Stream

PROXY = 3
BULK = 512 << 20


def pump(source: Session, sink: Session) -> int:
    """Carry everything from one session to the other; consumed at once. Returns the number of events."""
    events = 0
    while buffers := source.data_to_send(0.0):
        for event in sink.receive(b"".join(buffers), 0.0):
            events += 1
            if type(event) is Data:
                sink.credit(event.stream, len(event.data))
    return events


def core_frames() -> str:
    client, server = Session(client=True, now=0.0), Session(client=False, now=0.0)
    streams = [server.open(PROXY) for _ in range(100)]
    frames, payload, start = 0, bytes(200), time.perf_counter()
    for _ in range(2000):
        for stream in streams:
            server.send(stream, payload)
        frames += pump(server, client)
        pump(client, server)
    seconds = time.perf_counter() - start
    return f"{frames / seconds:,.0f} frames/s of 200 bytes, sent and received"


def core_bulk() -> str:
    client, server = Session(client=True, now=0.0), Session(client=False, now=0.0)
    stream, chunk, start = server.open(PROXY), bytes(0x40000), time.perf_counter()
    for _ in range(BULK // len(chunk)):
        server.send(stream, chunk)
        pump(server, client)
        pump(client, server)
    seconds = time.perf_counter() - start
    return f"{BULK / seconds / 1e6:,.0f} MB/s in frames of 32 KiB, sent and received"


class Upstream(asyncio.Protocol):
    """Answers each request of 100 bytes with 200, or swallows, or gives bulk, as told."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.left = BULK if mode == "give" else 0
        self.received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.resume_writing()

    def resume_writing(self) -> None:
        self.writable = True
        while self.writable and self.left:
            self.left -= 0x40000
            self.transport.write(bytes(0x40000))

    def pause_writing(self) -> None:
        self.writable = False

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.mode == "answer":
            self.transport.write(bytes(200))
        elif self.mode == "take" and self.received == BULK:
            self.transport.write(b"done")


class Visitor(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = 0
        self.wanted = 0
        self.done: asyncio.Future[None] | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= self.wanted and self.done is not None and not self.done.done():
            self.done.set_result(None)

    def pause_writing(self) -> None:
        self.gate.clear()

    def resume_writing(self) -> None:
        self.gate.set()

    def expect(self, size: int) -> "asyncio.Future[None]":
        self.wanted = self.received + size
        self.done = asyncio.get_running_loop().create_future()
        return self.done


async def connect(protocol: asyncio.BaseProtocol, sock: socket.socket) -> None:
    sock.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: protocol, sock=sock)


class Way:
    """Two sessions joined by a socket pair; `visit` opens one connection through them."""

    async def start(self, mode: str) -> None:
        def on_stream(stream: Stream) -> StreamHandler:
            splice = Splice(stream)
            near, far = socket.socketpair()
            self.task = loop.create_task(self._join(splice, near, far, mode))
            return stream.handler

        loop = asyncio.get_running_loop()
        agent = SessionProtocol(Session(client=True, now=time.monotonic()), on_stream, lambda _: None)
        self.relay = SessionProtocol(Session(client=False, now=time.monotonic()), lambda _: None, lambda _: None)
        ours, theirs = socket.socketpair()
        await connect(self.relay, ours)
        await connect(agent, theirs)

    async def _join(self, splice: Splice, near: socket.socket, far: socket.socket, mode: str) -> None:
        await connect(Upstream(mode), far)
        await connect(splice, near)

    async def visit(self) -> Visitor:
        near, far = socket.socketpair()
        visitor = Visitor()
        await connect(visitor, far)
        await connect(Splice(self.relay.open(PROXY, StreamHandler())), near)
        return visitor


async def requests() -> str:
    way = Way()
    await way.start("answer")
    visitors = [await way.visit() for _ in range(50)]

    async def ask(visitor: Visitor) -> None:
        for _ in range(1000):
            answer = visitor.expect(200)
            visitor.transport.write(bytes(100))
            await answer

    start = time.perf_counter()
    await asyncio.gather(*map(ask, visitors))
    return f"{50_000 / (time.perf_counter() - start):,.0f} requests/s over 50 kept connections (100 bytes up, 200 down)"


async def new_connections() -> str:
    way = Way()
    await way.start("answer")
    start = time.perf_counter()

    async def churn() -> None:
        for _ in range(500):
            visitor = await way.visit()
            answer = visitor.expect(200)
            visitor.transport.write(bytes(100))
            await answer
            visitor.transport.close()

    await asyncio.gather(*(churn() for _ in range(10)))
    return f"{5000 / (time.perf_counter() - start):,.0f} new connections/s, one request each"


async def bulk_down() -> str:
    way = Way()
    await way.start("give")
    start = time.perf_counter()
    visitor = await way.visit()
    await visitor.expect(BULK)
    return f"{BULK / (time.perf_counter() - start) / 1e6:,.0f} MB/s to the visitor"


async def bulk_up() -> str:
    way = Way()
    await way.start("take")
    visitor = await way.visit()
    done = visitor.expect(4)
    start = time.perf_counter()
    for _ in range(BULK // 0x40000):
        await visitor.gate.wait()
        visitor.transport.write(bytes(0x40000))
    await done
    return f"{BULK / (time.perf_counter() - start) / 1e6:,.0f} MB/s to the upstream"


def on_uvloop(measure: Callable[[], Awaitable[str]]) -> Callable[[], str]:
    async def run() -> str:
        return await measure()

    return lambda: uvloop.run(run())


MEASURES: dict[str, Callable[[], str]] = {
    "core-frames": core_frames,
    "core-bulk": core_bulk,
    "requests": on_uvloop(requests),
    "new-connections": on_uvloop(new_connections),
    "bulk-down": on_uvloop(bulk_down),
    "bulk-up": on_uvloop(bulk_up),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", metavar="NAME", choices=MEASURES)
    chosen = parser.parse_args().profile
    if chosen:
        profile = cProfile.Profile()
        profile.runcall(MEASURES[chosen])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    for name, measure in MEASURES.items():
        print(f"{name:16} {measure()}", flush=True)


if __name__ == "__main__":
    main()
