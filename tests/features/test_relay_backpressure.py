"""Whoever does not read slows nobody but himself, and costs the relay no more than a window of memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.relay_process import RelayProcess, running
from kit.scripted_agent import Recorder, ScriptedAgent
from portico.relay import link
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader
from portico.tunnel.transport import Stream

CHUNK = bytes(0x8000)
STALLED = 40
MOST_FOR_EACH = 0x80000
"""A window (256 KiB), both sockets' buffers in this process, and room for what the allocator keeps."""
SLACK = 16 << 20


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


class Flood(StreamHandler):
    """Sends as much as the stream takes, for ever."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.sent = 0
        self.paused = False
        asyncio.get_running_loop().call_soon(self.resume_writing)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while not self.paused:
            self.sent += len(CHUNK)
            self._stream.write(CHUNK)

    def connection_lost(self, code: int | None) -> None:
        self.paused = True


class Echo(StreamHandler):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self._stream.write(data)


async def settled(value: "list[Flood]") -> None:
    """Wait until nothing moves any more."""
    async with asyncio.timeout(30):
        seen = -1
        while seen != (total := sum(flood.sent for flood in value)) or not all(flood.paused for flood in value):
            seen = total
            await asyncio.sleep(0.2)


async def echoes(address: str) -> None:
    reader, writer = await asyncio.open_unix_connection(address)
    for _ in range(50):
        writer.write(CHUNK)
        assert await asyncio.wait_for(reader.readexactly(len(CHUNK)), 30) == CHUNK
    writer.close()


async def test_stalled_visitors(relay: RelayProcess) -> None:
    agent = await relay.agent()
    floods: list[Flood] = []

    def serve(stream: Stream, header: ProxyHeader) -> StreamHandler:
        floods.append(Flood(stream))
        return floods[-1]

    agent.serve = serve
    await agent.bind("tcp")
    bind = await relay.control.wait_for(link.Bind)
    before = relay.memory()
    visitors = [await asyncio.open_unix_connection(bind.address) for _ in range(STALLED)]
    for reader, _ in visitors:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while len(floods) < STALLED:
            await asyncio.sleep(0.01)
    await settled(floods)
    assert relay.memory() - before < STALLED * MOST_FOR_EACH + SLACK
    agent.serve = lambda stream, _: Echo(stream)
    await echoes(bind.address)
    for _, writer in visitors:
        writer.transport.abort()


async def flood(address: str) -> int:
    """Write until nothing has been taken for a while; returns how much was."""
    _, writer = await asyncio.open_unix_connection(address)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            writer.write(CHUNK)
            await asyncio.wait_for(writer.drain(), 1.0)
            sent += len(CHUNK)
    return sent


async def test_stalled_upstreams(relay: RelayProcess) -> None:
    agent = await relay.agent()

    def serve(stream: Stream, header: ProxyHeader) -> StreamHandler:
        stream.pause_reading()
        return Recorder(stream, header)

    agent.serve = serve
    await agent.bind("tcp")
    bind = await relay.control.wait_for(link.Bind)
    before = relay.memory()
    taken = await asyncio.gather(*(flood(bind.address) for _ in range(STALLED)))
    assert max(taken) < 4 << 20
    assert relay.memory() - before < STALLED * MOST_FOR_EACH + SLACK
    agent.serve = lambda stream, _: Echo(stream)
    await echoes(bind.address)


async def test_an_agent_that_reads_nothing_at_all(relay: RelayProcess) -> None:
    agent = await relay.agent()
    await agent.bind("tcp")
    bind = await relay.control.wait_for(link.Bind)
    other = await relay.agent()
    other.serve = lambda stream, _: Echo(stream)
    await other.bind("tcp")
    healthy = await relay.control.wait_for(link.Bind, 2)
    before = relay.memory()
    stalled: ScriptedAgent = agent
    assert stalled.protocol._transport is not None
    stalled.protocol._transport.pause_reading()
    await asyncio.gather(*(flood(bind.address) for _ in range(STALLED)))
    assert relay.memory() - before < STALLED * MOST_FOR_EACH + SLACK
    await echoes(healthy.address)
