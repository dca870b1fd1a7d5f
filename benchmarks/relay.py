"""What a relay costs: keep-alive requests, new connections and bulk bytes, each with the relay's own CPU time.

    python -m benchmarks.relay [--seconds S] [--connections N]

Visitors, agent and upstream share one other process (the agent answers by itself), so rates depend on that process too;
the relay's CPU time for one request, connection or MB does not.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.processes import cpu_seconds
from kit.relay_process import RelayProcess, running
from kit.scripted_agent import ScriptedAgent
from portico.relay import link
from portico.tunnel.handler import StreamHandler
from portico.tunnel.transport import Stream

REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\nuser-agent: bench\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\ncontent-type: text/plain\r\n\r\nHello, world!"
CHUNK = bytes(0x8000)
Figures = dict[str, float]


class Responder(StreamHandler):
    """Answers each request with a small page."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self._stream.write(ANSWER * data.count(b"\r\n\r\n"))

    def eof_received(self) -> None:
        self._stream.write_eof()


class Source(StreamHandler):
    """Sends for ever."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._going = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        while self._going:
            self._stream.write(CHUNK)

    def pause_writing(self) -> None:
        self._going = False

    def resume_writing(self) -> None:
        self._going = True
        self._send()

    def connection_lost(self, code: int | None) -> None:
        self._going = False


class Visitor(asyncio.Protocol):
    """Asks again as soon as it is answered, or reads and writes all it can."""

    done = 0
    received = 0

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self._asks:
            transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        Visitor.received += len(data)
        if self._asks:
            Visitor.done += 1
            self.transport.write(REQUEST)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)


class Flood(asyncio.Protocol):
    """Writes all it can."""

    sent = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._going = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        while self._going:
            Flood.sent += len(CHUNK)
            self.transport.write(CHUNK)

    def pause_writing(self) -> None:
        self._going = False

    def resume_writing(self) -> None:
        self._going = True
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._going = False


class Bench:
    """One relay, one agent, one bind."""

    def __init__(self, relay: RelayProcess, agent: ScriptedAgent, address: str, seconds: float) -> None:
        self.relay, self.agent, self.address, self.seconds = relay, agent, address, seconds

    async def timed(self, work: Callable[[], Awaitable[None]], count: Callable[[], float], unit: str) -> Figures:
        """Rate and relay CPU microseconds for each of what `count` counts."""
        await work()
        await asyncio.sleep(0.3)
        began, cpu, start = count(), cpu_seconds(self.relay.process.pid), time.perf_counter()
        await asyncio.sleep(self.seconds)
        took = time.perf_counter() - start
        done = max(count() - began, 1)
        spent = cpu_seconds(self.relay.process.pid) - cpu
        return {f"{unit}_per_s": round(done / took, 1), f"relay_us_per_{unit}": round(spent / done * 1e6, 2)}

    async def keep_alive(self, connections: int) -> Figures:
        self.agent.serve = lambda stream, _: Responder(stream)
        loop = asyncio.get_running_loop()
        visitors: list[Any] = []

        async def work() -> None:
            visitors.extend(
                [
                    await loop.create_unix_connection(lambda: Visitor(asks=True), self.address)
                    for _ in range(connections)
                ]
            )

        figures = await self.timed(work, lambda: Visitor.done, "request")
        for transport, _ in visitors:
            transport.abort()
        return figures

    async def new_connections(self) -> Figures:
        self.agent.serve = lambda stream, _: Responder(stream)
        opened = 0

        async def connect() -> None:
            nonlocal opened
            while True:
                reader, writer = await asyncio.open_unix_connection(self.address)
                writer.write(REQUEST)
                await reader.readexactly(len(ANSWER))
                writer.close()
                opened += 1

        tasks: list[asyncio.Task[None]] = []

        async def work() -> None:
            tasks.extend(asyncio.create_task(connect()) for _ in range(8))

        figures = await self.timed(work, lambda: opened, "connection")
        for task in tasks:
            task.cancel()
        return figures

    async def bulk(self, direction: str) -> Figures:
        down = direction == "down"
        self.agent.serve = (lambda stream, _: Source(stream)) if down else (lambda stream, _: StreamHandler())
        loop = asyncio.get_running_loop()
        visitors: list[Any] = []

        async def work() -> None:
            factory = (lambda: Visitor(asks=False)) if down else Flood
            visitors.extend([await loop.create_unix_connection(factory, self.address) for _ in range(4)])

        figures = await self.timed(work, lambda: (Visitor.received if down else Flood.sent) / 1e6, "MB")
        for transport, _ in visitors:
            transport.abort()
        await asyncio.sleep(0.3)
        return figures


async def measure(seconds: float, connections: int, directory: Path) -> dict[str, object]:
    """All figures by name."""
    async with running(directory) as relay:
        agent = await relay.agent()
        await agent.bind("tcp")
        bind = await relay.control.wait_for(link.Bind)
        bench = Bench(relay, agent, bind.address, seconds)
        return {
            "keep_alive": await bench.keep_alive(connections),
            "keep_alive_one": await bench.keep_alive(1),
            "new_connections": await bench.new_connections(),
            "bulk_down": await bench.bulk("down"),
            "bulk_up": await bench.bulk("up"),
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(uvloop.run(measure(options.seconds, options.connections, Path(directory))), indent=2))


if __name__ == "__main__":
    main()
