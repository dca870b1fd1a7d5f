"""ngrok's official Python SDK, unmodified, through a real Envoy: TLS ends there, HTTP comes from there."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from kit import front
from kit.ngrok_sdk import SdkAgent, sdk_agent
from kit.ports import free_port
from kit.relay_process import RelayProcess, running
from kit.upstream import HttpUpstream
from portico.relay import link


@dataclass
class Rig:
    """A relay behind Envoy, and the SDK connected to it."""

    relay: RelayProcess
    sdk: SdkAgent
    directory: Path

    async def bind(self, upstream: str, **options: object) -> link.Bind:
        """Let the SDK forward a new endpoint to `upstream`, a URL."""
        count = len(self.relay.control.all(link.Bind))
        await self.sdk.forward(upstream, **options)
        return await self.relay.control.wait_for(link.Bind, count + 1)


def visiting() -> httpx.AsyncClient:
    """A visitor with patience."""
    return httpx.AsyncClient(timeout=60, trust_env=False)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    ca, certificate, key = front.make_certificate(tmp_path)
    port = free_port()
    async with running(tmp_path) as relay:
        agents = front.agents_front(port, str(relay.agents_socket), certificate, key)
        async with front.envoy(tmp_path, agents), sdk_agent(f"localhost:{port}", ca) as sdk:
            yield Rig(relay, sdk, tmp_path)


async def test_http_requests_reach_the_upstream(rig: Rig) -> None:
    async with HttpUpstream() as upstream:
        rig.relay.control.options = {"http": 1}
        bind = await rig.bind(f"http://{upstream.address}")
        port = free_port()
        async with front.envoy(rig.directory, front.http_front(port, bind.address)), visiting() as visitor:
            for number in range(3):
                answer = await visitor.post(f"http://127.0.0.1:{port}/{number}", content=b"x" * 300_000)
                assert (answer.status_code, answer.json()["path"], answer.json()["length"]) == (
                    200,
                    f"/{number}",
                    300_000,
                )


async def test_tcp_bytes_and_half_close(rig: Rig) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    bind = await rig.bind(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", proto="tcp")
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(b"a" * 1_000_000)
    writer.write_eof()
    assert await reader.read() == b"a" * 1_000_000
    writer.close()
    server.close()


async def test_an_upstream_that_is_down_gives_the_502_page_through_envoy(rig: Rig) -> None:
    rig.relay.control.options = {"http": 1}
    bind = await rig.bind(f"http://127.0.0.1:{free_port()}")
    port = free_port()
    async with front.envoy(rig.directory, front.http_front(port, bind.address)), visiting() as visitor:
        answer = await visitor.post(f"http://127.0.0.1:{port}/", content=b"x" * 8_000_000)
        assert answer.status_code == 502
        assert answer.headers["x-test-mark"] == "8012"
        assert "could not reach the upstream" in answer.text
