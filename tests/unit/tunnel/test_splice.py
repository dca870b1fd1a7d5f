import asyncio
import hashlib
import random
import socket
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from kit.tunnel_pair import Pair
from portico.certificates.authority import Authority
from portico.tunnel.flow import NARROW
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.splice import SOCKET_HIGH, Splice
from portico.tunnel.transport import Stream

PairMaker = Callable[[], Pair]
BULK = 64 << 20


class End(asyncio.Protocol):
    """The outer end of a spliced socket."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.received = 0
        self.first = b""
        self.eof = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.digest.update(data)
        self.first = (self.first + data)[:100]

    def eof_received(self) -> bool:
        self.eof.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def send(self, chunk: bytes, count: int) -> None:
        for _ in range(count):
            await self.writable.wait()
            self.transport.write(chunk)
        self.transport.write_eof()


async def attach(protocol: asyncio.BaseProtocol, sock: socket.socket) -> None:
    sock.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: protocol, sock=sock)


class Way:
    """visitor ─ splice ─ session ═ session ─ splice ─ upstream."""

    def __init__(self, pair: Pair, splice: type[Splice] = Splice) -> None:
        self.pair = pair
        self.closed: list[Splice] = []
        self.splice = splice
        self.arrived: asyncio.Queue[Splice] = asyncio.Queue()
        pair.on_stream = self._accept

    def _accept(self, stream: Stream) -> StreamHandler:
        self.arrived.put_nowait(Splice(stream, self.closed.append))
        return stream.handler

    async def visit(self, *, dial: bool = True) -> tuple[End, Splice, Splice, End]:
        visitor, upstream = End(), End()
        near, far = socket.socketpair()
        splice = self.splice(self.pair.relay.open(3, StreamHandler()), self.closed.append)
        await attach(visitor, far)
        await attach(splice, near)
        other = await asyncio.wait_for(self.arrived.get(), 30)
        if dial:
            await self.dial(other, upstream)
        return visitor, splice, other, upstream

    async def dial(self, splice: Splice, upstream: End) -> None:
        near, far = socket.socketpair()
        await attach(upstream, far)
        await attach(splice, near)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def test_64_mib_both_ways_at_once_are_exact(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, splice, _, upstream = await way.visit()
    chunk = random.Random(3).randbytes(1 << 20)
    await asyncio.gather(visitor.send(chunk, BULK >> 20), upstream.send(chunk, BULK >> 20))
    await until(lambda: visitor.eof.is_set() and upstream.eof.is_set())
    expected = hashlib.sha256(chunk * (BULK >> 20)).digest()
    assert visitor.digest.digest() == upstream.digest.digest() == expected
    await until(lambda: len(way.closed) == 2)
    assert (splice.to_stream, splice.to_socket, splice.reset_code) == (BULK, BULK, None)
    assert pair.relay.session.stream_count == pair.agent.session.stream_count == 0


async def test_a_stalled_upstream_holds_a_bounded_number_of_bytes_and_nobody_else(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, near, far, upstream = await way.visit()
    upstream.transport.pause_reading()
    sending = asyncio.create_task(visitor.send(bytes(65_536), 1000))
    await until(lambda: not visitor.writable.is_set())
    other, _, _, other_upstream = await way.visit()
    await other.send(bytes(65_536), 200)
    await until(other_upstream.eof.is_set)
    assert other_upstream.received == 200 * 65_536
    assert near.stream.queued <= 2 * NARROW.window
    assert far._transport is not None
    assert far._transport.get_write_buffer_size() <= NARROW.window + SOCKET_HIGH
    upstream.transport.resume_reading()
    await sending
    await until(upstream.eof.is_set)
    assert upstream.received == 1000 * 65_536


async def test_an_upload_may_end_before_its_answer_begins(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, _, _, upstream = await way.visit()
    visitor.transport.write(b"upload")
    visitor.transport.write_eof()
    await until(upstream.eof.is_set)
    assert upstream.first == b"upload"
    assert not visitor.eof.is_set()
    upstream.transport.write(b"answer")
    upstream.transport.write_eof()
    await until(visitor.eof.is_set)
    assert visitor.first == b"answer"
    await until(lambda: len(way.closed) == 2)


async def test_what_comes_before_the_upstream_is_there_waits_within_a_window(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, _, far, upstream = await way.visit(dial=False)
    sending = asyncio.create_task(visitor.send(bytes(65_536), 64))
    await until(lambda: not visitor.writable.is_set())
    await until(lambda: sum(map(len, far._held)) > NARROW.window // 2)
    assert sum(map(len, far._held)) <= NARROW.window
    await way.dial(far, upstream)
    await sending
    await until(upstream.eof.is_set)
    assert upstream.received == 64 * 65_536


async def test_a_visitor_who_breaks_off_cuts_the_upstream(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, near, far, upstream = await way.visit()
    near._transport.abort()  # type: ignore[union-attr]
    await until(upstream.eof.is_set)
    await until(lambda: len(way.closed) == 2)
    assert far.reset_code == ErrorCode.CANCELLED
    assert visitor.received == 0


async def test_an_upstream_that_breaks_off_cuts_the_visitor(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, _, far, _ = await way.visit()
    far._transport.abort()  # type: ignore[union-attr]
    await until(visitor.eof.is_set)
    await until(lambda: len(way.closed) == 2)


async def test_an_answer_that_stands_before_a_failing_write_still_comes(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, near, far, upstream = await way.visit()
    far.pause_socket()
    upstream.transport.write(b"too large")
    upstream.transport.close()
    while not way.closed:  # each of them is a write that may fail
        near.data_received(b"more")
        await asyncio.sleep(0.002)
    await until(visitor.eof.is_set)
    assert visitor.received == len(b"too large")


async def test_a_stream_that_ends_before_the_dial_ends_the_socket_at_once(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    _, near, far, upstream = await way.visit(dial=False)
    near.stream.reset()
    await until(lambda: far in way.closed)
    await way.dial(far, upstream)
    await until(upstream.eof.is_set)


class Apologetic(Splice):
    def last_words(self) -> bytes:
        return b"HTTP/1.1 502 Bad Gateway\r\n\r\n"


async def test_a_relay_may_say_why_nothing_came(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair, Apologetic)
    visitor, _, far, _ = await way.visit(dial=False)
    far.stream.reset()
    await until(visitor.eof.is_set)
    assert visitor.first.startswith(b"HTTP/1.1 502")
    visitor, _, _, upstream = await way.visit()
    upstream.transport.write(b"HTTP/1.1 200 OK")
    upstream.transport.write_eof()
    await until(visitor.eof.is_set)
    assert visitor.first == b"HTTP/1.1 200 OK"


async def test_the_end_of_the_session_cuts_both_sockets(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, _, _, upstream = await way.visit()
    pair.relay.abort("gone")
    await until(lambda: visitor.eof.is_set() and upstream.eof.is_set())
    await until(lambda: len(way.closed) == 2)


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's, client's), from a new authority."""
    now = datetime.now(UTC)
    authority = Authority.create(now)
    pair, _ = authority.issue(["localhost"], now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(pair.key + pair.certificate)
        file.flush()
        server.load_cert_chain(file.name)
    client = ssl.create_default_context(cadata=authority.pem)
    return server, client


async def test_an_upstream_in_tls_that_closes_is_an_orderly_end(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    way = Way(pair)
    visitor, _, far, upstream = await way.visit(dial=False)
    server, client = tls_contexts()
    loop = asyncio.get_running_loop()
    near, other = socket.socketpair()
    near.setblocking(False)
    other.setblocking(False)
    await asyncio.gather(
        loop.connect_accepted_socket(lambda: upstream, other, ssl=server),
        loop.create_connection(lambda: far, sock=near, ssl=client, server_hostname="localhost"),
    )
    visitor.transport.write(b"question")
    await until(lambda: upstream.first == b"question")
    upstream.transport.write(bytes(1 << 20))
    upstream.transport.close()
    await until(visitor.eof.is_set)
    assert visitor.received == 1 << 20
    visitor.transport.write(b"nobody reads this")
    visitor.transport.write_eof()
    await until(lambda: len(way.closed) == 2)


async def test_a_session_in_tls_carries_as_well(make_pair: PairMaker) -> None:
    pair = make_pair()
    pair.agent, pair.relay = pair.protocol("agent", client=True), pair.protocol("relay", client=False)
    server, client = tls_contexts()
    loop = asyncio.get_running_loop()
    near, other = socket.socketpair()
    near.setblocking(False)
    other.setblocking(False)
    await asyncio.gather(
        loop.connect_accepted_socket(lambda: pair.relay, other, ssl=server),
        loop.create_connection(lambda: pair.agent, sock=near, ssl=client, server_hostname="localhost"),
    )
    way = Way(pair)
    visitor, _, _, upstream = await way.visit()
    chunk = random.Random(4).randbytes(1 << 20)
    await asyncio.gather(visitor.send(chunk, 8), upstream.send(chunk, 8))
    await until(lambda: visitor.eof.is_set() and upstream.eof.is_set())
    assert visitor.digest.digest() == upstream.digest.digest() == hashlib.sha256(chunk * 8).digest()
