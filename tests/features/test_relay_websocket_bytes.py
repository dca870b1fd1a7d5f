"""Binds whose visitors' WebSockets are streams of bytes: handshake, ends of either side, back-pressure, refusals."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets
from websockets.frames import Close

from kit.relay_process import MARK, RelayProcess, running
from kit.scripted_agent import Recorder, ScriptedAgent
from portico.model.pages import PROBE_ANSWER
from portico.relay import link
from portico.relay.limits import STREAM_ATTEMPTS
from portico.tunnel import rpc
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind, UpstreamFailed
from portico.tunnel.proxy_protocol import SIGNATURE, ProxyInfo
from portico.tunnel.transport import Stream

VISITOR = ProxyInfo(("203.0.113.9", 5001), ("203.0.113.1", 443))
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: a.test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
"""A check's PROXY header, which tells no address."""
SMALL_PINGS = b"\x89\x80" + bytes(4)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


async def bound(relay: RelayProcess, agent: ScriptedAgent, **options: object) -> str:
    """The socket of a new bind of `agent` with the converter."""
    relay.control.options = {"http": 1, "visitor_address": True, "websocket_bytes": True, "proto": "tcp", **options}
    count = len(relay.control.all(link.Bind))
    await agent.bind("https")
    return (await relay.control.wait_for(link.Bind, count + 1)).address


async def opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as Envoy makes it."""
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(VISITOR.encode(2))
    return reader, writer


async def stalled(address: str) -> asyncio.StreamWriter:
    """A visitor who reads no more once his WebSocket is open."""
    reader, writer = await opened(address)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    return writer


@contextlib.asynccontextmanager
async def websocket(address: str, **options: object) -> AsyncIterator[websockets.ClientConnection]:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(address)
        raw.sendall(VISITOR.encode(2))
        raw.setblocking(False)
        async with websockets.connect("ws://a.test/", sock=raw, proxy=None, **options) as connection:  # type: ignore[arg-type]
            yield connection


async def closed(connection: websockets.ClientConnection) -> Close:
    """The Close frame of the edge, once all messages before it are read."""
    async with asyncio.timeout(30):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await connection.recv()
        await connection.wait_closed()
    assert connection.protocol.close_rcvd is not None
    return connection.protocol.close_rcvd


async def test_messages_are_bytes_both_ways_and_the_agent_is_told_who_came(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent), subprotocols=["mqtt"]) as connection:
        assert connection.subprotocol == "mqtt"
        stream = await agent.stream()
        assert (stream.header.proto, stream.header.client_addr) == ("tcp", "203.0.113.9:5001")
        await connection.send(b"one")
        await connection.send("zwö")
        await connection.send([b"thr", b"ee"])
        await stream.until(lambda seen: bytes(seen.received) == "onezwöthree".encode())
        stream.stream.write(b"answer")
        assert await connection.recv() == b"answer"
        await (await connection.ping())


async def test_an_upstream_that_speaks_first_is_heard(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent)) as connection:
        (await agent.stream()).stream.write(b"220 hello\r\n")
        assert await connection.recv() == b"220 hello\r\n"


async def test_the_upstream_is_given_a_proxy_header_where_it_wants_one(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent, proxy_protocol=1)) as connection:
        await connection.send(b"x")
        stream = await agent.stream()
        expected = b"PROXY TCP4 203.0.113.9 203.0.113.1 5001 443\r\nx"
        await stream.until(lambda seen: bytes(seen.received) == expected)


async def test_frames_that_come_with_the_handshake_and_byte_by_byte(relay: RelayProcess) -> None:
    agent = await relay.agent()
    address = await bound(relay, agent)
    reader, writer = await opened(address)
    writer.write(HANDSHAKE + b"\x82\x83" + bytes(4) + b"abc")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    stream = await agent.stream()
    await stream.until(lambda seen: bytes(seen.received) == b"abc")
    for byte in b"\x02\x82" + bytes(4) + b"de\x80\x81" + bytes(4) + b"f":
        writer.write(bytes([byte]))
        await writer.drain()
    await stream.until(lambda seen: bytes(seen.received) == b"abcdef")
    writer.close()


async def test_a_visitors_close_is_answered_and_what_it_sent_arrives(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent)) as connection:
        stream = await agent.stream()
        await connection.send(b"last words")
        await connection.close(4001, "mine")
        assert await closed(connection) == Close(4001, "")
    await stream.until(lambda seen: seen.finished)
    assert bytes(stream.received) == b"last words"
    stream.stream.write_eof()
    await stream.until(lambda seen: seen.over)


async def test_a_visitor_who_breaks_off_resets_the_stream(relay: RelayProcess) -> None:
    agent = await relay.agent()
    reader, writer = await opened(await bound(relay, agent))
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    stream = await agent.stream()
    writer.close()
    await stream.until(lambda seen: seen.over)
    assert stream.lost is not None


async def test_an_upstream_that_finishes_closes_in_order_and_hears_the_visitor_out(relay: RelayProcess) -> None:
    agent = await relay.agent()
    reader, writer = await opened(await bound(relay, agent))
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    stream = await agent.stream()
    stream.stream.write(b"bye")
    stream.stream.write_eof()
    assert await reader.readexactly(9) == b"\x82\x03bye\x88\x02\x03\xe8"
    writer.write(b"\x82\x82" + bytes(4) + b"ok" + b"\x88\x82" + bytes(4) + b"\x03\xe8")
    await stream.until(lambda seen: bytes(seen.received) == b"ok" and seen.finished)
    assert await reader.read() == b""
    writer.close()


async def test_an_upstream_that_is_not_reached_is_an_error_with_the_agents_reason(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent)) as connection:
        stream = await agent.stream()
        failed = UpstreamFailed(id=stream.header.id, code=8012, reason="connect to localhost:1: refused")
        rpc.tell(agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
        stream.stream.write_eof()
        assert await closed(connection) == Close(1011, "PORTICO_8012: connect to localhost:1: refused")


async def test_a_stream_that_is_reset_is_an_error(relay: RelayProcess) -> None:
    agent = await relay.agent()
    address = await bound(relay, agent)
    async with websocket(address) as connection:
        (await agent.stream()).stream.reset(ErrorCode.CANCELLED)
        code = await closed(connection)
        assert (code.code, code.reason.split(":")[0]) == (1011, "PORTICO_8012")
    async with websocket(address) as connection:
        stream = await agent.stream(2)
        stream.stream.write(b"some")
        assert await connection.recv() == b"some"
        stream.stream.reset(ErrorCode.CANCELLED)
        assert (await closed(connection)).code == 1011


async def test_a_session_that_ends_says_that_it_is_worth_trying_again(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent)) as connection:
        await agent.stream()
        agent.protocol.abort("gone")
        assert (await closed(connection)).code == 1012


async def test_a_bind_that_is_stopped_says_so(relay: RelayProcess) -> None:
    agent = await relay.agent()
    async with websocket(await bound(relay, agent)) as connection:
        await agent.stream()
        bind = relay.control.all(link.Bind)[0]
        name = (await agent.stream()).header.id
        relay.control.send(link.StopBind(session=bind.session, bind=name, message="enough", error_code=""))
        assert (await closed(connection)).code == 1001


async def test_a_fault_is_named_and_resets_the_stream(relay: RelayProcess) -> None:
    agent = await relay.agent()
    reader, writer = await opened(await bound(relay, agent))
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x82\x01x")  # without a mask
    assert (await reader.readexactly(4))[2:] == (1002).to_bytes(2, "big")
    stream = await agent.stream()
    await stream.until(lambda seen: seen.over)
    assert stream.lost is not None
    writer.close()


@pytest.mark.parametrize(
    ("request_", "status", "mark"),
    [
        (b"GET / HTTP/1.1\r\nhost: a.test\r\naccept: application/json\r\n\r\n", b"400", "3206"),
        (b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc", b"400", "3206"),
        (HANDSHAKE.replace(b"version: 13", b"version: 8"), b"426", "20039"),
        (b"rubbish\r\n\r\n", b"400", "3206"),
    ],
)
async def test_what_is_no_websocket_gets_a_page(relay: RelayProcess, request_: bytes, status: bytes, mark: str) -> None:
    agent = await relay.agent()
    reader, writer = await opened(await bound(relay, agent))
    writer.write(request_)
    page = await reader.read()
    assert page.startswith(b"HTTP/1.1 " + status)
    assert f"{MARK}: {mark}".encode() in page
    assert (b"sec-websocket-version: 13" in page) is (status == b"426")
    assert not agent.streams
    writer.close()


async def test_a_full_queue_of_the_agent_is_tried_again_with_what_was_sent(relay: RelayProcess) -> None:
    agent = await relay.agent()
    refusals = STREAM_ATTEMPTS - 1
    seen: list[Recorder] = []

    def serve(stream: Stream, header: ProxyHeader) -> StreamHandler:
        seen.append(Recorder(stream, header))
        if len(seen) <= refusals:
            asyncio.get_running_loop().call_later(0.02, stream.reset, ErrorCode.ACCEPT_QUEUE_FULL)
        return seen[-1]

    agent.serve = serve
    async with websocket(await bound(relay, agent)) as connection:
        await connection.send(b"kept")
        await connection.send(b" and more")
        async with asyncio.timeout(30):
            while len(seen) <= refusals:
                await asyncio.sleep(0.01)
        await seen[-1].until(lambda one: bytes(one.received) == b"kept and more")
        seen[-1].stream.write(b"there")
        assert await connection.recv() == b"there"


async def test_a_check_by_connection_is_answered(relay: RelayProcess) -> None:
    agent = await relay.agent()
    reader, writer = await asyncio.open_unix_connection(await bound(relay, agent))
    writer.write(LOCAL)
    assert await reader.readexactly(len(PROBE_ANSWER)) == PROBE_ANSWER
    writer.close()


async def test_thousands_of_tiny_frames_hold_nobody_up_and_cost_no_memory(relay: RelayProcess) -> None:
    agent = await relay.agent()
    writer = await stalled(await bound(relay, agent))
    before = relay.memory()
    for _ in range(64):
        writer.write(SMALL_PINGS * 4096)
        await writer.drain()
    writer.write(b"\x82\x84" + bytes(4) + b"done")
    stream = await agent.stream()
    await stream.until(lambda seen: bytes(seen.received) == b"done")
    assert relay.memory() - before < 8 << 20
    writer.transport.abort()


async def test_bytes_survive_both_directions_at_once(relay: RelayProcess) -> None:
    agent = await relay.agent()

    class Echo(StreamHandler):
        def __init__(self, stream: Stream) -> None:
            self._stream = stream

        def data_received(self, data: bytes) -> None:
            self._stream.write(data)

    agent.serve = lambda stream, _: Echo(stream)
    sent = bytes(range(256)) * 16_384
    async with websocket(await bound(relay, agent), max_size=None) as connection:

        async def read() -> bytes:
            got = bytearray()
            while len(got) < len(sent):
                message = await connection.recv()
                assert isinstance(message, bytes)
                got += message
            return bytes(got)

        reading = asyncio.create_task(read())
        for start in range(0, len(sent), 1 << 20):
            await connection.send(sent[start : start + (1 << 20)])
        assert await reading == sent


async def test_a_visitor_who_does_not_read_holds_the_upstream_back(relay: RelayProcess) -> None:
    agent = await relay.agent()
    writer = await stalled(await bound(relay, agent))
    stream = (await agent.stream()).stream
    before = relay.memory()
    assert stream.write(bytes(32 << 20)) is None
    await asyncio.sleep(1)
    assert relay.memory() - before < 4 << 20
    # The other direction goes on.
    writer.write(b"\x82\x82" + bytes(4) + b"ok")
    await (await agent.stream()).until(lambda seen: bytes(seen.received) == b"ok")
    writer.transport.abort()


async def test_an_upstream_that_does_not_read_holds_the_visitor_back(relay: RelayProcess) -> None:
    agent = await relay.agent()
    address = await bound(relay, agent)
    reader, writer = await opened(address)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    stalled = await agent.stream()
    stalled.stream.pause_reading()
    before = relay.memory()
    writer.write(b"\x82\xff" + (32 << 20).to_bytes(8, "big") + bytes(4))
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 32 << 20:
            writer.write(bytes(1 << 16))
            await asyncio.wait_for(writer.drain(), 1)
            sent += 1 << 16
    assert sent < 2 << 20
    assert relay.memory() - before < 4 << 20
    stalled.stream.write(b"other way")
    assert (await reader.readexactly(11))[2:] == b"other way"
    writer.transport.abort()
    # A visitor who leaves while nothing is read of him is found by looking, or when the upstream goes on.
    stalled.stream.resume_reading()
    await stalled.until(lambda seen: seen.over)
