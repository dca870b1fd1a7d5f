"""What an agent asks goes to control as it is, and back; nothing is served before Auth."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.raw_agent import RawAgent
from kit.relay_process import RelayProcess, running
from kit.scripted_agent import ScriptedAgent
from portico.relay import link
from portico.tunnel import frames
from portico.tunnel.frames import ProtocolError
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
    with pytest.raises(ProtocolError):
        await agent.bind()
    assert relay.control.all(link.Bind) == []


@pytest.mark.parametrize("kind", [StreamKind.UNBIND, StreamKind.PATCH_TUNNEL_STATE, StreamKind.SRV_INFO])
async def test_every_other_request_is_answered_by_control(relay: RelayProcess, kind: StreamKind) -> None:
    agent = await relay.agent()
    answer = await agent.ask(kind, Id="b", TunnelId="b")
    assert answer in ({"Error": "", "Extra": None}, {"Region": "test"})


async def test_a_refused_agent_gets_the_error_as_control_wrote_it(relay: RelayProcess) -> None:
    relay.control.refuse = "no such token\n\nERR_NGROK_107\n"
    agent = await ScriptedAgent().connect(relay.agents_socket)
    assert (await agent.authenticate())["Error"] == "no such token\n\nERR_NGROK_107\n"
    with pytest.raises(ProtocolError):
        await agent.bind()
    figures = await relay.control.figures()
    assert (figures["sessions"], figures["sessions_refused_total"]) == (0, 1)


async def test_a_second_auth_is_refused(relay: RelayProcess) -> None:
    agent = await relay.agent()
    with pytest.raises(ProtocolError):
        await agent.authenticate()
    assert len(relay.control.all(link.Authenticate)) == 1


@pytest.mark.parametrize("body", [b"[1]", b"nonsense", b'{"a":', b'{"Id":{"not":"text"}}', b"{" * 100])
async def test_a_request_that_is_none_harms_its_stream_alone(relay: RelayProcess, body: bytes) -> None:
    agent = await RawAgent.connect(relay.agents_socket)
    await agent.authenticate()
    agent.open(5, StreamKind.UNBIND, body)
    agent.data(5, b"", frames.FIN)
    agent.open(7, StreamKind.SRV_INFO, b"{}")
    assert b"Region" in (await agent.next_data(7))[3]
    agent.close()


async def test_a_request_beyond_the_limit_is_refused(relay: RelayProcess) -> None:
    agent = await relay.agent()
    with pytest.raises(ProtocolError):
        await agent.bind(Opts={"x": "y" * (1 << 20)})
    assert (await agent.bind())["Error"] == ""
    assert len(relay.control.all(link.Bind)) == 1


async def test_a_stream_of_an_unknown_kind_is_refused(relay: RelayProcess) -> None:
    agent = await relay.agent()
    with pytest.raises(ProtocolError):
        await agent.ask(77)
    assert not agent.ended.done()


async def test_a_refused_bind_leaves_no_socket(relay: RelayProcess) -> None:
    agent = await relay.agent()
    relay.control.refuse = "already online\n\nERR_NGROK_334\n"
    assert "334" in (await agent.bind())["Error"]
    bind = await relay.control.wait_for(link.Bind)
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(bind.address)
    assert (await relay.control.figures())["binds"] == 0


async def test_a_bind_again_in_one_session_replaces_the_first(relay: RelayProcess) -> None:
    agent = await relay.agent()
    await agent.bind(Id="b")
    await agent.bind(Id="b")
    first, second = relay.control.all(link.Bind)
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(first.address)
    _, writer = await asyncio.open_unix_connection(second.address)
    await agent.stream()
    writer.close()
    assert (await relay.control.figures())["binds"] == 1


async def test_a_bind_of_an_agent_that_left_meanwhile_is_given_back(relay: RelayProcess) -> None:
    agent = await relay.agent()
    relay.control.deaf = True
    asking = asyncio.create_task(agent.bind())
    question = await relay.control.wait_for(link.Bind)
    agent.protocol.abort("gone")
    await relay.control.wait_for(link.SessionEnded)
    late = relay.control.answer(question)
    assert late is not None
    relay.control.send(late)
    await relay.control.wait_for(link.Unbind)
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(question.address)
    with pytest.raises(ProtocolError):
        await asking


async def test_a_restarted_control_hears_of_everything_that_lives(relay: RelayProcess) -> None:
    agent = await relay.agent()
    await agent.bind()
    await relay.control.stop()
    await relay.control.start()
    hello = await relay.control.wait_for(link.Hello, 2)
    assert [(one.remote, one.lease) for one in hello.sessions] == [("192.0.2.1:40001", {"client": "client1"})]
    assert [one.url for one in hello.binds] == ["https://bind2.test"]
    assert hello.pid == relay.process.pid


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("stop", {"Error": ""}, ""),
        ("restart", {"Error": "no handler"}, "no handler"),
        ("update", {}, ""),
        ("dance", {}, "agents know no command 'dance'"),
    ],
)
async def test_commands_reach_the_agent_and_its_answer_control(
    relay: RelayProcess, command: str, answer: dict[str, object], error: str
) -> None:
    agent = await relay.agent()
    agent.answer = answer
    session = relay.control.all(link.Authenticate)[0].session
    relay.control.send(link.AgentCommand(id=9, session=session, command=command, body={"Version": "2"}))
    assert await relay.control.wait_for(link.AgentAnswer) == link.AgentAnswer(id=9, error=error)


async def test_an_agent_that_answers_no_command_is_not_waited_for(relay: RelayProcess) -> None:
    agent = await RawAgent.connect(relay.agents_socket)
    await agent.authenticate()
    session = relay.control.all(link.Authenticate)[0].session
    relay.control.send(link.AgentCommand(id=9, session=session, command="stop", body={}))
    while (frame := await agent.next()) and frame[3][:4] != b"\0\0\0\5":
        pass
    agent.open(5, StreamKind.HEARTBEAT, b"here")
    assert (await relay.control.wait_for(link.AgentAnswer)).error == "The agent gave no answer."
    agent.close()


async def test_a_command_to_a_session_that_ended_is_answered(relay: RelayProcess) -> None:
    relay.control.send(link.AgentCommand(id=9, session="nobody", command="stop", body={}))
    assert (await relay.control.wait_for(link.AgentAnswer)).error == "The session has ended."
