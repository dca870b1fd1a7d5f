"""Sessions and listeners of a process, towards a scripted edge in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import portico
from kit.agent_server import TOKEN, AgentServer, agent_server, until, write_ca
from portico import PorticoError
from portico.model.errors import ALREADY_ONLINE
from portico.sdk.options import SessionOptions
from portico.tunnel import rpc
from portico.tunnel.messages import StreamKind


@pytest.fixture
async def server() -> AsyncIterator[AgentServer]:
    async with agent_server() as server:
        yield server
        await portico.kill()


@pytest.fixture
def edge(server: AgentServer, tmp_path: Path) -> SessionOptions:
    return SessionOptions(connect_url=server.address, connect_cas=write_ca(server, tmp_path), authtoken=TOKEN)


async def test_equal_settings_share_a_session(server: AgentServer, edge: SessionOptions) -> None:
    await asyncio.gather(*(portico.forward(8080, **edge) for _ in range(3)))
    assert len(server.sessions) == 1
    await portico.forward(8080, **edge, session_metadata="other")
    await portico.forward(8080, **edge, force_new_session=True)
    assert len(server.sessions) == 3


async def test_a_session_ends_with_its_last_listener(server: AgentServer, edge: SessionOptions) -> None:
    first = await portico.forward(8080, **edge)
    second = await portico.forward(8080, **edge)
    await first.close()
    assert server.session.is_open
    await second.close()
    await until(lambda: not server.session.is_open)
    await portico.forward(8080, **edge)
    assert len(server.sessions) == 2


async def test_the_edges_ca_as_text(server: AgentServer, edge: SessionOptions) -> None:
    edge["connect_cas"] = "host"
    edge["session_ca_cert"] = bytearray(server.ca.encode())
    assert (await portico.forward(8080, **edge)).url()


async def test_a_listener_that_the_edge_ends(server: AgentServer, edge: SessionOptions) -> None:
    listener = await portico.listen(**edge)
    directory = Path(listener.getsockname()).parent
    stop = {"Id": listener.id(), "Message": "banned", "ErrorCode": "ERR_NGROK_334"}
    rpc.tell(server.session, StreamKind.STOP_TUNNEL, stop)
    with pytest.raises(PorticoError, match="banned") as caught:
        await listener.join()
    assert caught.value.code is ALREADY_ONLINE
    assert listener.closed
    assert portico.get_listeners() == []
    await portico.kill()
    assert not directory.exists()
    await until(lambda: not server.session.is_open)


async def test_a_refused_session_of_ones_own_is_not_kept(server: AgentServer, edge: SessionOptions) -> None:
    server.refuse_bind = PorticoError(ALREADY_ONLINE, "taken")
    with pytest.raises(PorticoError, match="taken"):
        await portico.forward(8080, **edge, force_new_session=True)
    await until(lambda: not server.session.is_open)


async def test_a_cancelled_call_leaves_no_listener(server: AgentServer, edge: SessionOptions) -> None:
    server.frozen = True
    calling = asyncio.ensure_future(portico.forward(8080, **edge))
    await until(lambda: server.sessions)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert portico.get_listeners() == []
    server.frozen = False


async def test_labelled(server: AgentServer, edge: SessionOptions) -> None:
    listener = await portico.forward(8080, proto="labeled", labels=["edge:e1"], metadata="m", **edge)
    assert (listener.url(), listener.labels(), listener.metadata()) == ("", {"edge": "e1"}, "m")
    assert server.binds[0]["Labels"] == {"edge": "e1"}


async def test_a_listener_is_awaitable_and_shown_without_secrets(server: AgentServer, edge: SessionOptions) -> None:
    listener = await portico.forward(8080, **edge, basic_auth="user:hunter2")
    assert await listener is listener
    assert "hunter2" not in repr(listener)
    assert listener.url() in repr(listener)
    with pytest.raises(PorticoError, match="no socket"):
        listener.fileno()
