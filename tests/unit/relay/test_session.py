"""What one agent can make a relay do, and what it cannot; the session runs in this process to move its limits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.control import ScriptedControl
from kit.raw_agent import RawAgent
from kit.scripted_agent import ADDRESS, ScriptedAgent
from portico.model.errors import BAD_GATEWAY_RESPONSE, UPSTREAM_UNREACHABLE
from portico.relay import limits, link, link_client
from portico.relay.arrival import Arrival
from portico.relay.binds import SocketPaths
from portico.relay.figures import Figures
from portico.relay.link_client import LinkClient
from portico.relay.session import AgentSession, Surroundings, _check_silence
from portico.tunnel import frames, rpc
from portico.tunnel.flow import NARROW, WIDE
from portico.tunnel.messages import StreamKind, UpstreamFailed


class Door:
    """A relay's insides, without its process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control = ScriptedControl(directory)
        self.path = directory / "agents.sock"
        self.sessions: list[AgentSession] = []
        self.left = 0
        hello = link.Hello(relay="r0", pid=1, sessions=[], binds=[])
        self.link = LinkClient(str(self.control.path), lambda: hello, lambda _: None)
        (directory / "binds").mkdir()
        self.around = Surroundings(self.link, SocketPaths(directory / "binds"), Figures(), "x-mark")

    def arrive(self) -> Arrival:
        return Arrival(self._welcome, self._leave)

    def _leave(self) -> None:
        self.left += 1

    def _welcome(self, transport: asyncio.Transport, remote: str, received: bytes) -> None:
        session = AgentSession(self.around, remote, self._leave)
        self.sessions.append(session)
        transport.set_protocol(session.protocol)
        session.protocol.connection_made(transport)
        session.protocol.receive(received)

    async def agent(self) -> ScriptedAgent:
        agent = await ScriptedAgent().connect(self.path)
        await agent.authenticate()
        return agent


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    opened = Door(tmp_path)
    await opened.control.start()
    server = await asyncio.get_running_loop().create_unix_server(opened.arrive, opened.path)
    linked = asyncio.create_task(opened.link.run())
    yield opened
    server.close()
    linked.cancel()
    for session in opened.sessions:
        session.close("the test is over")
    await opened.control.stop()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(garbage=st.binary(min_size=1, max_size=200), opened=st.booleans())
async def test_garbage_ends_its_own_connection_alone(
    door: Door, monkeypatch: pytest.MonkeyPatch, garbage: bytes, opened: bool
) -> None:
    monkeypatch.setattr(limits, "AUTH_SECONDS", 0.5)
    healthy = await door.agent()
    reader, writer = await asyncio.open_unix_connection(door.path)
    begin = frames.data_header(3, 5, frames.SYN) + bytes(4) + b"{"
    writer.write(ADDRESS.encode(2) + (begin if opened else b"") + garbage + b"\xff" * 64)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert (await healthy.ask(StreamKind.SRV_INFO)) == {"Region": "test"}
    healthy.protocol.abort("done")


async def test_a_session_without_auth_is_ended(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_SECONDS", 0.1)
    agent = await RawAgent.connect(door.path)
    agent.open(3, StreamKind.HEARTBEAT, b"beat")
    await agent.until_closed()
    assert door.left == 1
    assert door.around.figures.sessions == 0


async def test_a_refused_session_is_ended(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_SECONDS", 0.1)
    door.control.refuse = "no"
    agent = await ScriptedAgent().connect(door.path)
    await agent.authenticate()
    await asyncio.wait_for(agent.ended, 30)
    assert door.left == 1


async def test_without_control_an_agent_is_told_to_try_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_client, "ASK_SECONDS", 0.1)
    await door.control.stop()
    agent = await ScriptedAgent().connect(door.path)
    assert "PORTICO_20008" in str((await agent.authenticate())["Error"])


async def test_a_session_has_no_more_binds_than_the_limit(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BINDS", 2)
    agent = await door.agent()
    answers = await asyncio.gather(*(agent.bind() for _ in range(5)))
    assert sorted(bool(answer["Error"]) for answer in answers) == [False, False, True, True, True]
    assert any("ERR_NGROK_324" in answer["Error"] for answer in answers)


async def test_a_socket_that_cannot_be_made_is_an_error_of_the_bind_alone(door: Door) -> None:
    agent = await door.agent()
    (door.directory / "binds").rmdir()
    assert "PORTICO_20008" in (await agent.bind())["Error"]
    assert not agent.ended.done()


async def test_heartbeats_are_held_within_bounds(door: Door) -> None:
    door.control.heartbeat = (0.0, 1e9)
    await door.agent()
    async with asyncio.timeout(30):
        while (heartbeat := door.sessions[0].protocol.session.heartbeat) is None:
            await asyncio.sleep(0)
    assert (heartbeat.interval, heartbeat.tolerance) == limits.HEARTBEAT_SECONDS


async def test_an_agents_reason_is_kept_for_its_own_binds_alone(door: Door) -> None:
    agent = await door.agent()
    bind = (await agent.bind())["Id"]
    for name in (bind, "of-somebody-else"):
        failed = UpstreamFailed(id=name, code=BAD_GATEWAY_RESPONSE.number, reason="r" * 10_000)
        rpc.tell(agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
    await agent.ask(StreamKind.SRV_INFO)
    session = door.sessions[0]
    failure = session.failure(bind)
    assert failure is not None
    assert (failure[0], len(failure[1])) == (BAD_GATEWAY_RESPONSE, 500)
    assert session.failure("of-somebody-else") is None


async def test_a_code_that_no_visitor_can_meet_becomes_the_general_one(door: Door) -> None:
    agent = await door.agent()
    bind = (await agent.bind())["Id"]
    failed = UpstreamFailed(id=bind, code=105, reason="x")
    rpc.tell(agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
    await agent.ask(StreamKind.SRV_INFO)
    assert door.sessions[0].failure(bind) == (UPSTREAM_UNREACHABLE, "x")


async def test_silence_that_was_ours_does_not_end_a_session(door: Door) -> None:
    agent = await door.agent()
    session = door.sessions[0]
    before = session.protocol.session.last_received
    await agent.ask(StreamKind.SRV_INFO)
    _check_silence(session.protocol, before)
    assert session.alive
    _check_silence(session.protocol, session.protocol.session.last_received)
    await asyncio.wait_for(agent.ended, 30)
    assert not session.alive


async def test_an_agent_that_asks_for_wide_streams_gets_them_and_no_other(door: Door) -> None:
    for asked, flow in ((WIDE.window, WIDE), (WIDE.window + 1, NARROW), (0, NARROW)):
        agent = await ScriptedAgent().connect(door.path)
        answer = await agent.ask(StreamKind.AUTH, Version=["3"], Extra={"AuthToken": "t", "Window": asked})
        assert door.sessions[-1].protocol.session.flow is flow
        extra = answer["Extra"]
        assert extra.get("Window", NARROW.window) == flow.window


async def test_rust_agents_get_fewer_streams_and_prompt_answers(door: Door) -> None:
    for name in ("ngrok-python/1.4.0 ngrok-rust/0.14.0", "ngrok-go/2.1.1"):
        agent = await ScriptedAgent().connect(door.path)
        await agent.authenticate(agent=name)
    rust, go = (one.protocol.session for one in door.sessions)
    assert (rust.prompt_ack, rust.max_own_streams) == (True, limits.RUST_STREAMS)
    assert (go.prompt_ack, go.max_own_streams) == (False, limits.STREAMS)


async def own_agent(door: Door) -> tuple[ScriptedAgent, str]:
    """An agent that may add connections, and the token for it."""
    agent = await ScriptedAgent().connect(door.path)
    answer = await agent.ask(StreamKind.AUTH, Version=["3"], Extra={"AuthToken": "t", "Window": WIDE.window})
    return agent, answer["Extra"]["LegToken"]


async def test_visitors_are_spread_over_the_connections_of_a_session(door: Door) -> None:
    agent, token = await own_agent(door)
    leg = await ScriptedAgent().connect(door.path)
    assert await leg.ask(StreamKind.JOIN, Token=token) == {"Error": ""}
    bind = (await agent.bind())["Id"]
    path = door.sessions[0].binds[bind].path
    visitors = [await asyncio.open_unix_connection(path) for _ in range(4)]
    for _, writer in visitors:
        writer.write(b"hello")
    await agent.stream(2)
    await leg.stream(2)
    failed = UpstreamFailed(id=bind, code=BAD_GATEWAY_RESPONSE.number, reason="no")
    rpc.tell(leg.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
    async with asyncio.timeout(30):
        while door.sessions[0].failure(bind) is None:
            await asyncio.sleep(0.01)
    leg.protocol.abort("cut")
    async with asyncio.timeout(30):
        while len(agent.streams) < 3:  # those who come now find the connection that is left
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hello")
            await asyncio.sleep(0.01)
    assert not leg.protocol.is_open
    for _, writer in visitors:
        writer.close()


async def test_the_further_connections_end_with_the_session(door: Door) -> None:
    agent, token = await own_agent(door)
    leg = await ScriptedAgent().connect(door.path)
    await leg.ask(StreamKind.JOIN, Token=token)
    agent.protocol.abort("cut")
    await asyncio.wait_for(leg.ended, 30)
    late = await ScriptedAgent().connect(door.path)
    assert "Error" in await late.ask(StreamKind.JOIN, Token=token)


async def test_a_connection_that_no_visitor_needs_any_more_is_closed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEG_REST_SECONDS", 0.05)
    agent, token = await own_agent(door)
    bind = (await agent.bind())["Id"]
    path = door.sessions[0].binds[bind].path
    leg = await ScriptedAgent().connect(door.path)
    await leg.ask(StreamKind.JOIN, Token=token)
    visitors = [await asyncio.open_unix_connection(path) for _ in range(2)]
    for _, writer in visitors:
        writer.write(b"hello")
    stream = await leg.stream()
    for _ in range(2):
        idle = await ScriptedAgent().connect(door.path)
        await idle.ask(StreamKind.JOIN, Token=token)
        await asyncio.wait_for(idle.ended, 30)
    assert leg.protocol.is_open
    for _, writer in visitors:
        writer.write(b", again")
    await stream.until(lambda one: one.received == b"hello, again")
    stream.stream.reset()
    await asyncio.wait_for(leg.ended, 30)
    assert "no visitor" in leg.ended.result()
    visitors.append(await asyncio.open_unix_connection(path))
    visitors[-1][1].write(b"hello")
    await agent.stream(2)
    for _, writer in visitors:
        writer.close()


async def test_a_session_goes_on_by_another_connection_while_streams_end_where_they_are(door: Door) -> None:
    agent, token = await own_agent(door)
    leg, new = [await ScriptedAgent().connect(door.path) for _ in range(2)]
    await leg.ask(StreamKind.JOIN, Token=token)
    bind = (await agent.bind())["Id"]
    session = door.sessions[0]

    async def visit() -> asyncio.StreamWriter:
        _, writer = await asyncio.open_unix_connection(session.binds[bind].path)
        writer.write(b"hello")
        return writer

    visitors = [await visit(), await visit()]
    old = [await agent.stream(), await leg.stream()]
    # Nobody takes over who was not asked to.
    assert "Error" in await (await ScriptedAgent().connect(door.path)).ask(StreamKind.JOIN, Token=token, TakeOver=True)

    async def moved(body: dict[str, object]) -> dict[str, object]:
        assert await new.ask(StreamKind.JOIN, Token=token, TakeOver=True) == {"Error": ""}
        visitors.append(await visit())
        await new.stream()
        return {"Error": ""}

    agent.obey = moved
    await session.move()
    assert session.protocol.is_open
    assert agent.protocol.is_open
    assert leg.protocol.is_open
    assert [kind for kind, _ in agent.requests] == [StreamKind.MOVE]
    assert await new.ask(StreamKind.SRV_INFO)
    for stream, visitor, closing in zip(old, visitors, (agent, leg), strict=False):
        visitor.write(b", again")
        await stream.until(lambda one: one.received == b"hello, again")
        stream.stream.write(b"x" * 100_000)
        stream.stream.write_eof()
        visitor.close()
        await asyncio.wait_for(closing.ended, 30)
    assert session.alive
    await session.move()  # one that says yes and stays keeps its connection
    assert session.protocol.is_open
    session.close("the test is over")
    for visitor in visitors:
        visitor.close()


async def test_whoever_cannot_move_stays(door: Door) -> None:
    agent, _ = await own_agent(door)
    agent.answer = {"Error": "no"}
    session = door.sessions[0]
    await session.move()
    assert await agent.ask(StreamKind.SRV_INFO)
    agent.protocol.abort("cut")
    await asyncio.wait_for(agent.ended, 30)
    await session.move()
    assert not session.alive


async def test_only_the_token_of_a_session_joins_and_only_so_many(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEGS", 2)
    monkeypatch.setattr(limits, "AUTH_SECONDS", 0.1)
    _, token = await own_agent(door)
    errors = []
    for word in ("", "x" * 32, token, token):
        leg = await ScriptedAgent().connect(door.path)
        errors.append((await leg.ask(StreamKind.JOIN, Token=word))["Error"])
        if errors[-1]:
            await asyncio.wait_for(leg.ended, 30)
    assert [bool(error) for error in errors] == [True, True, False, True]
    assert token not in "".join(map(str, errors))


async def test_ngroks_agents_are_told_of_no_further_connections(door: Door) -> None:
    agent = await ScriptedAgent().connect(door.path)
    assert "LegToken" not in (await agent.authenticate(agent="ngrok-go/2.1.1"))["Extra"]
