import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from kit.agent_server import TOKEN, AgentServer, Visitor, agent_server, until
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.link import PEER_STREAMS
from portico.agent.session import AgentSession, Command, SessionState, SessionStatus
from portico.agent.settings import SessionSettings
from portico.model.errors import (
    ALREADY_ONLINE,
    AUTHTOKEN_UNKNOWN,
    CONNECT_FAILED,
    EDGE_BUSY,
    EDGE_UNTRUSTED,
    SESSION_CLOSED,
    PorticoError,
)
from portico.relay import limits
from portico.tunnel import rpc
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind
from portico.tunnel.transport import Stream

HTTPS = BindRequest(kind=BindKind.HTTPS, metadata="m")


@pytest.fixture
async def server() -> AsyncIterator[AgentServer]:
    async with agent_server() as server:
        yield server


def settings(server: AgentServer) -> SessionSettings:
    return SessionSettings(edge=EdgeAddress.parse(server.address), authtoken=TOKEN, edge_ca_pem=server.ca)


@pytest.fixture
async def session(server: AgentServer) -> AsyncIterator[AgentSession]:
    session = AgentSession(settings(server))
    await session.connect()
    yield session
    await session.close()


def serve_nothing(*_: object) -> None:
    raise AssertionError("no visitor was expected")


async def test_auth_says_who_we_are(server: AgentServer, session: AgentSession) -> None:
    extra = server.auths[0]["Extra"]
    assert server.auths[0]["Version"] == ["3", "2"]
    assert (extra["HeartbeatInterval"], extra["HeartbeatTolerance"]) == (10_000_000_000, 15_000_000_000)
    assert extra["StopUnsupportedError"]
    assert session.status.state is SessionState.ONLINE
    assert (session.status.facts.region, session.status.facts.session_id) == ("here", "ts_1")


async def test_bind_and_unbind(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(replace(HTTPS, url="https://a.localhost"), serve_nothing)
    assert (bind.url, bind.proto, bind.online) == ("https://a.localhost", "https", True)
    await session.unbind(bind)
    await session.unbind(bind)
    assert server.unbinds == [{"Id": bind.id}]
    assert bind.closed.done()


async def test_a_refused_bind_raises_the_edges_error(server: AgentServer, session: AgentSession) -> None:
    server.refuse_bind = PorticoError(ALREADY_ONLINE, "a.localhost is online")
    with pytest.raises(PorticoError, match=r"a\.localhost is online") as caught:
        await session.bind(HTTPS, serve_nothing)
    assert caught.value.code is ALREADY_ONLINE
    assert session.binds == []


async def test_a_wrong_token_fails_at_once(server: AgentServer) -> None:
    with pytest.raises(PorticoError) as caught:
        await AgentSession(replace(settings(server), authtoken="wrong")).connect(persistent=True)
    assert caught.value.code is AUTHTOKEN_UNKNOWN
    assert len(server.auths) == 1


async def test_a_busy_edge_is_asked_again(server: AgentServer) -> None:
    server.refuse_auth = PorticoError(EDGE_BUSY, "starting")
    session = AgentSession(settings(server))
    connecting = asyncio.create_task(session.connect())
    await server.until(lambda server: len(server.auths) >= 2)
    server.refuse_auth = None
    await connecting
    await session.close()


async def test_nobody_there(server: AgentServer) -> None:
    await server.stop_listening()
    with pytest.raises(PorticoError, match="refused") as caught:
        await AgentSession(settings(server)).connect()
    assert caught.value.code is CONNECT_FAILED


async def test_a_persistent_session_waits_for_its_edge(server: AgentServer) -> None:
    port = int(server.address.rpartition(":")[2])
    await server.stop_listening()
    session = AgentSession(settings(server))
    connecting = asyncio.create_task(session.connect(persistent=True))
    await until(lambda: "refused" in session.status.reason)
    await server.listen(port)
    session.reconnect_now()
    await connecting
    await session.close()


async def test_an_unknown_ca(server: AgentServer) -> None:
    async with agent_server() as other:
        with pytest.raises(PorticoError) as caught:
            await AgentSession(replace(settings(server), edge_ca_pem=other.ca)).connect()
    assert caught.value.code is EDGE_UNTRUSTED


async def test_a_lost_connection_comes_back_with_identity_and_binds(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(HTTPS, serve_nothing)
    labelled = await session.bind(BindRequest(kind=BindKind.LABELED, labels={"edge": "e"}), serve_nothing)
    url, old = bind.url, bind.id
    server.session.abort("test")
    await until(lambda: len(server.auths) == 2 and bind.online and labelled.online)
    assert server.auths[1]["ClientId"] == "client-1"
    assert server.auths[1]["Extra"]["Cookie"] == "cookie-1"
    again = next(body for body in server.binds[2:] if "Opts" in body)
    assert (again["Id"], again["Extra"]["Token"], again["Opts"]["URL"]) == (old, "bind-token-1", url)
    assert (bind.url, bind.id) == (url, old)
    assert labelled.id.startswith("labelled-")
    assert labelled.id != "labelled-2"


async def test_goaway_means_come_again(server: AgentServer, session: AgentSession) -> None:
    server.session.close(ErrorCode.NONE, "moving")
    await server.until(lambda server: len(server.auths) == 2)


async def test_states_are_told(server: AgentServer) -> None:
    told: list[SessionStatus] = []
    session = AgentSession(settings(server), told.append)
    await session.connect()
    await until(lambda: told[-1].latency is not None)
    server.session.abort("test")
    await until(lambda: len(server.auths) == 2 and told[-1].state is SessionState.ONLINE)
    await session.close()
    states = [status.state for status in told]
    assert [state for at, state in enumerate(states) if state != states[at - 1] or at == 0] == [
        SessionState.ONLINE,
        SessionState.RECONNECTING,
        SessionState.ONLINE,
        SessionState.CLOSED,
    ]


async def test_an_outage_is_outlived(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(HTTPS, serve_nothing)
    port = int(server.address.rpartition(":")[2])
    await server.stop_listening()
    server.session.abort("test")
    await until(lambda: "refused" in session.status.reason)
    assert not bind.online
    await server.listen(port)
    session.reconnect_now()
    await until(lambda: bind.online)


async def test_a_half_dead_link_is_noticed_and_left(server: AgentServer) -> None:
    quick = replace(settings(server), heartbeat_interval=0.05, heartbeat_tolerance=0.1, connect_timeout=2)
    session = AgentSession(quick)
    await session.connect()
    server.frozen = True
    await until(lambda: session.status.state is SessionState.RECONNECTING)
    assert "heartbeat" in session.status.reason or "answer" in session.status.reason
    server.frozen = False
    session.reconnect_now()
    await until(lambda: session.status.state is SessionState.ONLINE)
    await session.close()


async def test_a_name_that_is_taken_for_a_while_is_asked_for_again(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(HTTPS, serve_nothing)
    server.refuse_bind = PorticoError(ALREADY_ONLINE, "taken")
    server.session.abort("test")
    await until(lambda: bind.problem is not None)
    assert session.status.state is SessionState.ONLINE
    server.refuse_bind = None
    await until(lambda: bind.online)
    assert bind.problem is None


async def test_binding_waits_for_the_connection(server: AgentServer, session: AgentSession) -> None:
    server.session.abort("test")
    await until(lambda: session.status.state is SessionState.RECONNECTING or len(server.auths) == 2)
    assert (await session.bind(HTTPS, serve_nothing)).online


async def test_the_edge_ends_a_bind(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(HTTPS, serve_nothing)
    stop = {"Id": bind.id, "Message": "banned", "ErrorCode": "ERR_NGROK_334"}
    rpc.tell(server.session, StreamKind.STOP_TUNNEL, stop)
    await asyncio.wait_for(asyncio.shield(bind.closed), 30)
    assert bind.problem is not None
    assert (bind.problem.message, bind.problem.code) == ("banned", ALREADY_ONLINE)
    server.session.abort("test")
    await server.until(lambda server: len(server.auths) == 2)
    assert len(server.binds) == 1


async def test_commands(server: AgentServer) -> None:
    obeyed: list[dict[str, object]] = []

    async def update(body: dict[str, object]) -> None:
        obeyed.append(body)

    async def stop(_: dict[str, object]) -> None:
        raise RuntimeError("not now")

    commands: dict[str, Command] = {"Update": update, "Stop": stop}
    session = AgentSession(settings(server), commands=commands)
    await session.connect()
    extra = server.auths[0]["Extra"]
    assert (extra["UpdateUnsupportedError"], extra["StopUnsupportedError"]) == ("", "")
    assert extra["RestartUnsupportedError"]
    ask = {"Version": "9", "PermitMajorVersion": True}
    assert await rpc.request(server.session, StreamKind.UPDATE, ask, 30) == {"Error": ""}
    assert obeyed == [ask]
    assert await rpc.request(server.session, StreamKind.STOP, {}, 30) == {"Error": "not now"}
    assert (await rpc.request(server.session, StreamKind.RESTART, {}, 30))["Error"]
    await session.close()


async def test_a_closed_session_stays_closed(server: AgentServer, session: AgentSession) -> None:
    bind = await session.bind(HTTPS, serve_nothing)
    await session.close()
    await session.close()
    assert bind.closed.done()
    assert len(server.unbinds) == 1
    with pytest.raises(PorticoError) as caught:
        await session.bind(HTTPS, serve_nothing)
    assert caught.value.code is SESSION_CLOSED


async def test_closing_without_a_connection(server: AgentServer, session: AgentSession) -> None:
    await session.bind(HTTPS, serve_nothing)
    await server.stop_listening()
    server.session.abort("test")
    await until(lambda: session.status.state is SessionState.RECONNECTING)
    await session.close()
    assert session.closed


async def test_a_visitor_of_an_unknown_bind_is_refused(server: AgentServer, session: AgentSession) -> None:
    assert await server.visit("nobody").end() == b""


async def test_visitors_who_come_before_the_answer_to_the_bind_are_served(
    server: AgentServer, session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, early, served = server._bind, list[Visitor](), list[bytearray]()

    async def answer_late(body: dict[str, Any]) -> rpc.Message:
        early.extend((server.visit("bind-1", b"hello"), server.visit("nobody"), server.visit("bind-1", b"gone")))
        early[0].send(b", again")
        early[0].finish()
        assert early[2].stream is not None
        early[2].stream.reset()
        await asyncio.sleep(0.05)
        return await answer(body)

    class Keep(StreamHandler):
        def __init__(self, stream: Stream) -> None:
            self._stream = stream
            self._received = bytearray()
            served.append(self._received)

        def data_received(self, data: bytes) -> None:
            self._received += data

        def eof_received(self) -> None:
            self._stream.write(bytes(self._received))
            self._stream.write_eof()

    def serve(stream: Stream, _: ProxyHeader, first: bytes) -> None:
        stream.handler = Keep(stream)
        stream.handler.data_received(first)

    monkeypatch.setattr(server, "_bind", answer_late)
    await session.bind(HTTPS, serve)
    assert await early[0].end() == b"hello, again"
    assert await early[1].end() == b""
    assert served == [b"hello, again"]


async def test_a_broken_proxy_header_ends_its_stream_alone(server: AgentServer, session: AgentSession) -> None:
    visitor = server.visit("x")
    assert await visitor.end() == b""
    garbage = type(visitor)()
    garbage.stream = server.session.open(StreamKind.PROXY, garbage, b"\xff" * 16)
    assert await garbage.end() == b""
    assert session.status.state is SessionState.ONLINE


def test_the_token_is_in_no_repr(server: AgentServer) -> None:
    assert TOKEN not in repr(settings(server))


async def test_a_persistent_session_gives_up_where_the_certificate_is_not_trusted(server: AgentServer) -> None:
    async with agent_server() as other:
        with pytest.raises(PorticoError) as caught:
            await AgentSession(replace(settings(server), edge_ca_pem=other.ca)).connect(persistent=True)
    assert caught.value.code is EDGE_UNTRUSTED


def test_as_many_visitors_at_once_as_a_relay_sends() -> None:
    assert PEER_STREAMS == limits.STREAMS
