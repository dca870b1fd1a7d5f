"""Further connections of one session, as an agent makes them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kit.agent_server import TOKEN, AgentServer, Visitor, agent_server, until
from portico.agent import legs, link
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.session import AgentSession, SessionState
from portico.agent.settings import SessionSettings
from portico.relay import limits
from portico.tunnel import rpc
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind
from portico.tunnel.transport import Stream

HTTPS = BindRequest(kind=BindKind.HTTPS, url="https://a.localhost")


@pytest.fixture
async def server() -> AsyncIterator[AgentServer]:
    async with agent_server() as server:
        server.leg_token = "leg_secret"
        yield server


@pytest.fixture
async def session(server: AgentServer) -> AsyncIterator[AgentSession]:
    session = AgentSession(
        SessionSettings(edge=EdgeAddress.parse(server.address), authtoken=TOKEN, edge_ca_pem=server.ca)
    )
    await session.connect()
    await until(lambda: session.status.latency is not None)
    yield session
    await session.close()


class Echo(StreamHandler):
    def __init__(self, stream: Stream, first: bytes) -> None:
        self._stream = stream
        if first:
            self.data_received(first)

    def data_received(self, data: bytes) -> None:
        self._stream.write(data)


def echo(stream: Stream, _: ProxyHeader, first: bytes) -> None:
    stream.handler = Echo(stream, first)


async def visitors(server: AgentServer, session: AgentSession, count: int) -> list[Visitor]:
    bind = await session.bind(replace(HTTPS), echo)
    return [server.visit(bind.id, b"hello") for _ in range(count)]


async def test_many_visitors_from_afar_get_more_connections_which_end_with_the_first(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "FAR_SECONDS", 0.0)
    await visitors(server, session, 3 * legs.STREAMS_PER_LEG)
    await until(lambda: len(server.joined) == 2)
    assert server.joined == [{"Token": "leg_secret", "TakeOver": False}] * 2
    await until(lambda: len(server.sessions) == 3)
    bind = session.binds[0]
    assert await server.visit(bind.id, b"on a leg").until(lambda visitor: len(visitor.received) == 8) == b"on a leg"
    server.sessions[0].abort("cut")
    await until(lambda: not any(leg.is_open for leg in server.sessions[:3]))
    await until(lambda: len(server.auths) == 2)  # and the session comes back


async def test_near_an_edge_or_with_few_visitors_one_connection_is_enough(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "FAR_SECONDS", 3600.0)
    for visitor in await visitors(server, session, 10):
        await visitor.until(lambda visitor: visitor.received == b"hello")
    monkeypatch.setattr(legs, "FAR_SECONDS", 0.0)
    assert server.joined == []


def test_an_agent_wants_no_more_connections_than_a_relay_takes() -> None:
    assert legs.LEGS <= limits.LEGS


async def test_another_relay_that_is_met_is_no_obstacle(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "FAR_SECONDS", 0.0)
    server.leg_token = "another"
    bind = await session.bind(replace(HTTPS), echo)
    for _ in range(legs.STREAMS_PER_LEG + 1):
        server.visit(bind.id, b"hello")
    await until(lambda: len(server.joined) > 2)
    server.leg_token = "leg_secret"
    joined = len(server.joined)
    await until(lambda: len(server.joined) > joined)
    newest = server.session
    assert await server.visit(bind.id, b"on a leg").until(lambda visitor: len(visitor.received) == 8)
    assert newest.is_open


async def test_a_session_moves_without_its_streams(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(replace(HTTPS), echo)
    old = server.session
    visitor = server.visit(bind.id, b"hello")
    await visitor.until(lambda one: one.received == b"hello")
    assert await rpc.request(old, StreamKind.MOVE, {}, 30) == {"Error": ""}
    assert server.joined == [{"Token": "leg_secret", "TakeOver": True}]
    new = server.session
    assert new is not old
    visitor.send(b", again")
    await visitor.until(lambda one: one.received == b"hello, again")
    second = await session.bind(replace(HTTPS, url="https://b.localhost"), echo)
    assert await server.visit(second.id, b"hello").until(lambda one: len(one.received) == 5)
    old.retire("another connection has taken over")
    assert old.is_open
    visitor.finish()
    assert visitor.stream is not None
    visitor.stream.reset()
    await until(lambda: not old.is_open)
    await asyncio.sleep(0.05)
    assert session.status.state is SessionState.ONLINE
    assert len(server.auths) == 1
    new.abort("cut")
    await until(lambda: len(server.auths) == 2)  # the session's end is still noticed


async def test_a_visitor_on_a_connection_that_joins_while_the_session_moves_is_not_cut(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "FAR_SECONDS", 0.0)
    server.join_held = asyncio.Event()
    first = server.session
    await visitors(server, session, legs.STREAMS_PER_LEG + 1)
    await until(lambda: server.joined)
    joining = server.session
    assert joining is not first
    visitor = server.visit(session.binds[0].id, b"hello", by=joining)
    await visitor.until(lambda one: one.received == b"hello")
    assert await rpc.request(first, StreamKind.MOVE, {}, 30) == {"Error": ""}
    server.join_held.set()
    visitor.send(b", again")
    assert await visitor.until(lambda one: one.over or len(one.received) == 12) == b"hello, again"
    assert not visitor.over


async def test_a_session_that_cannot_move_stays(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(replace(HTTPS), echo)
    old = server.session
    server.leg_token = "another"
    assert "PORTICO" in str((await rpc.request(old, StreamKind.MOVE, {}, 30))["Error"])
    server.sessions[1:] = []
    assert await server.visit(bind.id, b"hello").until(lambda one: len(one.received) == 5)
    assert session.status.state is SessionState.ONLINE


async def test_a_refused_leg_is_not_asked_for_again_at_once(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legs, "FAR_SECONDS", 0.0)
    monkeypatch.setattr(link, "JOIN_ATTEMPTS", 1)
    server.leg_token = "another"
    bind = await session.bind(replace(HTTPS), echo)
    for _ in range(legs.STREAMS_PER_LEG + 1):
        server.visit(bind.id, b"hello")
    await until(lambda: server.joined)
    first = server.sessions[0]
    server.sessions[1:] = []
    for _ in range(4):
        server.visit(bind.id, b"hello")
        await asyncio.sleep(0.01)
    assert len(server.joined) == 1
    assert first.is_open
