"""What an agent asks goes to control as it is, and back; nothing is served before Auth."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.relay_process import RelayProcess, running
from kit.scripted_agent import ScriptedAgent
from portico.relay import link
from portico.tunnel.messages import StreamKind


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


async def test_auth_and_bind_reach_control_as_they_are(relay: RelayProcess) -> None:
    agent = await ScriptedAgent().connect(relay.agents_socket)
    answer = await agent.authenticate()
    asked = await relay.control.wait_for(link.Authenticate)
    assert answer["Error"] == ""
    assert asked.remote == "192.0.2.1:40001"
    assert asked.body["Extra"]["AuthToken"] == "t"  # type: ignore[index]
    bound = await agent.bind(Opts={"Domain": "a.test", "unknown": [1]})
    question = await relay.control.wait_for(link.Bind)
    assert bound["Opts"] == {"Domain": "a.test", "unknown": [1]}
    assert question.address.startswith(str(relay.directory))


async def test_visitor_bytes_travel_both_ways(relay: RelayProcess) -> None:
    agent = await relay.agent()
    await agent.bind()
    bind = await relay.control.wait_for(link.Bind)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    stream = await agent.stream()
    writer.write(b"hello")
    await stream.until(lambda seen: bytes(seen.received) == b"hello")
    stream.stream.write(b"world")
    assert await reader.readexactly(5) == b"world"
    stream.stream.write_eof()
    assert await reader.read() == b""
    writer.close()
    await stream.until(lambda seen: seen.over)
    assert stream.lost is None
    assert (stream.header.proto, stream.header.edge_type, stream.header.client_addr) == ("https", "0", "0.0.0.0:0")


async def test_nothing_is_served_before_auth(relay: RelayProcess) -> None:
    agent = await ScriptedAgent().connect(relay.agents_socket)
    with pytest.raises(Exception, match="no answer"):
        await agent.bind()
    assert relay.control.all(link.Bind) == []


@pytest.mark.parametrize("kind", [StreamKind.UNBIND, StreamKind.PATCH_TUNNEL_STATE, StreamKind.SRV_INFO])
async def test_every_other_request_is_answered_by_control(relay: RelayProcess, kind: StreamKind) -> None:
    agent = await relay.agent()
    answer = await agent.ask(kind, Id="b", TunnelId="b")
    assert answer in ({"Error": "", "Extra": None}, {"Region": "test"})
