"""Visitors who would use up an edge meet its limits, in the real Envoy; who is only slow does not."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import h2.config
import h2.connection
import h2.events
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, unix_serve

from kit.envoy import eventually
from kit.translated import TranslatedEdge, endpoint, http_upstream, read_answer, translated_edge
from portico.model.errors import REQUEST_REFUSED
from portico.model.limits import VisitorLimits

STRICT = VisitorLimits(
    header_kib=8,
    headers=20,
    body_bytes=100_000,
    streams=8,
    stream_resets=50,
    stream_resets_per_second=1,
    header_seconds=2,
    request_seconds=4,
    keepalive_seconds=2,
    reading_seconds=2,
)
BIG = 24 << 20


async def download(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that nobody holds in buffers, and an end."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        for _ in range(BIG >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
    writer.close()


async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A long poll: the answer comes later than every limit of `STRICT`."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(5)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
    writer.close()


async def echo(connection: ServerConnection) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(message)


@pytest.fixture
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge(limits=STRICT) as running:
        socket = running.directory / "ws.sock"
        async with unix_serve(echo, str(socket)):
            upstream = await running.serve(http_upstream("a"), "a")
            await running.publish(
                endpoint("https://a.edge.test", upstream),
                endpoint("https://late.edge.test", await running.serve(late, "late")),
                endpoint("https://big.edge.test", await running.serve(download, "big")),
                endpoint("https://ws.edge.test", replace(upstream, path=str(socket))),
            )
            yield running


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All until the end, which the edge makes."""
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            received += data
    return received


async def test_a_dripped_head_ends(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("a.edge.test")
    writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n")
    dripping = asyncio.create_task(drip(writer, b"x-%d: 1\r\n"))
    assert b" 408 " in await ended(reader)
    dripping.cancel()


async def test_a_dripped_body_ends(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("a.edge.test")
    writer.write(b"POST / HTTP/1.1\r\nhost: a.edge.test\r\ntransfer-encoding: chunked\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, b"1\r\n%1.1d\r\n"))
    await ended(reader)
    dripping.cancel()


async def drip(writer: asyncio.StreamWriter, form: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for number in range(1000):
            writer.write(form % (number % 10))
            await asyncio.sleep(0.1)


async def test_a_visitor_who_reads_nothing_ends(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("big.edge.test")
    writer.transport.pause_reading()
    writer.write(b"GET / HTTP/1.1\r\nhost: big.edge.test\r\n\r\n")
    await asyncio.sleep(5)
    writer.transport.resume_reading()
    assert len(await ended(reader)) < BIG


async def test_a_visitor_who_reads_slowly_stays(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("big.edge.test")
    writer.write(b"GET / HTTP/1.1\r\nhost: big.edge.test\r\n\r\n")
    received = 0
    while data := await reader.read(1 << 20):
        received += len(data)
        await asyncio.sleep(0.1)  # longer in all than he may stand still
    assert received > BIG


async def test_a_long_poll_and_a_silent_websocket_stay(edge: TranslatedEdge) -> None:
    address = f"wss://ws.edge.test:{edge.https}/"
    async with connect(address, host="127.0.0.1", ssl=edge.visitor(), server_hostname="ws.edge.test") as socket:
        answer = await edge.get("late.edge.test")
        assert answer.text == "late"
        await socket.send("still here")
        assert await socket.recv() == "still here"


@pytest.mark.parametrize("framing", ["content-length: 200000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n"])
async def test_a_body_that_is_too_large_is_refused(edge: TranslatedEdge, framing: str) -> None:
    reader, writer = await edge.open("a.edge.test")
    writer.write(f"POST / HTTP/1.1\r\nhost: a.edge.test\r\n{framing}".encode())
    if "chunked" in framing:
        writer.write(b"30d40\r\n" + bytes(200_000) + b"\r\n0\r\n\r\n")
    answer = await read_answer(reader)
    assert (answer.status, answer.headers["portico-error-code"]) == (413, str(REQUEST_REFUSED))


@pytest.mark.parametrize("fields", ["".join(f"x-{n}: 1\r\n" for n in range(30)), f"x: {'1' * 9000}\r\n"])
async def test_too_many_header_fields_are_refused(edge: TranslatedEdge, fields: str) -> None:
    answer = await edge.raw("a.edge.test", f"GET / HTTP/1.1\r\nhost: a.edge.test\r\n{fields}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_connection_ends_after_its_number_of_requests() -> None:
    async with translated_edge(limits=VisitorLimits(requests_per_connection=3)) as edge:
        await edge.publish(endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        reader, writer = await edge.open("a.edge.test")
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n\r\n")
            answer = await read_answer(reader)
        assert answer.headers["connection"] == "close"
        assert await ended(reader) == b""


async def test_a_connection_at_rest_ends(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("a.edge.test")
    writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n\r\n")
    await read_answer(reader)
    assert await ended(reader) == b""


async def test_a_connection_ends_at_its_age() -> None:
    async with translated_edge(limits=VisitorLimits(connection_seconds=1)) as edge:
        await edge.publish(endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        reader, writer = await edge.open("a.edge.test")

        async def asked_to_end() -> bool:
            writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n\r\n")
            return (await read_answer(reader)).headers.get("connection") == "close"

        await eventually(asked_to_end)
        assert await ended(reader) == b""


class Http2Visitor:
    """HTTP/2 as no browser speaks it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.protocol.initiate_connection()
        self.events: list[h2.events.Event] = []

    def send(self) -> None:
        self.writer.write(self.protocol.data_to_send())

    def ask(self, stream: int) -> None:
        fields = {":method": "GET", ":scheme": "https", ":authority": "late.edge.test", ":path": "/"}
        self.protocol.send_headers(stream, list(fields.items()), end_stream=True)

    async def receive(self) -> bool:
        """False at the end of the connection."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if data := await self.reader.read(1 << 16):
                self.events += self.protocol.receive_data(data)
                return True
        return False


@contextlib.asynccontextmanager
async def http2(edge: TranslatedEdge) -> AsyncIterator[Http2Visitor]:
    context = edge.visitor()
    context.set_alpn_protocols(["h2"])
    visitor = Http2Visitor(*await edge.open("late.edge.test", tls=context))
    visitor.send()
    yield visitor
    visitor.writer.close()


async def test_requests_that_are_cancelled_at_once_end_the_connection(edge: TranslatedEdge) -> None:
    async with http2(edge) as visitor:
        for stream in range(1, 2 * 4 * STRICT.stream_resets, 2):
            visitor.ask(stream)
            visitor.protocol.reset_stream(stream)
        visitor.send()
        while await visitor.receive():
            pass
        assert any(isinstance(event, h2.events.ConnectionTerminated) for event in visitor.events)


async def test_a_page_that_is_left_again_ends_nothing(edge: TranslatedEdge) -> None:
    async with http2(edge) as visitor:
        while not any(isinstance(event, h2.events.RemoteSettingsChanged) for event in visitor.events):
            await visitor.receive()
        for stream in range(1, 2 * STRICT.streams, 2):
            visitor.ask(stream)
        visitor.send()
        for stream in range(1, 2 * STRICT.streams, 2):
            visitor.protocol.reset_stream(stream)
        last = 2 * STRICT.streams + 1
        visitor.ask(last)
        visitor.send()
        while not any(isinstance(event, h2.events.StreamEnded) for event in visitor.events):
            assert await visitor.receive()


async def test_the_number_of_streams_is_told(edge: TranslatedEdge) -> None:
    async with http2(edge) as visitor:
        while not any(isinstance(event, h2.events.RemoteSettingsChanged) for event in visitor.events):
            await visitor.receive()
        assert visitor.protocol.remote_settings.max_concurrent_streams == STRICT.streams


async def test_more_connections_than_there_may_be_are_closed() -> None:
    async with translated_edge(bootstrap={"max_connections": 3}) as edge:
        await edge.publish(endpoint("http://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        held = [await asyncio.open_connection("127.0.0.1", edge.http) for _ in range(3)]
        for reader, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n\r\n")
            assert (await read_answer(reader)).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.http)
        assert await ended(reader) == b""
        for _, open_one in held:
            open_one.close()

        async def served() -> bool:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                return (await edge.get_plain("a.edge.test")).status == 200
            return False

        assert await eventually(served)


async def test_without_memory_open_connections_are_told_and_new_ones_wait() -> None:
    async with translated_edge(bootstrap={"memory_bytes": 1 << 20}) as edge:
        await edge.publish(endpoint("http://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.http)

        async def told() -> bool:
            writer.write(b"GET / HTTP/1.1\r\nhost: a.edge.test\r\n\r\n")
            return (await read_answer(reader)).status == 503

        await eventually(told)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(edge.get_plain("a.edge.test"), 1)
