"""The twelve things that bite whoever serves ngrok's SDKs, each seen on their wire, each held here by its number.

The official Python SDK is the actor where it is the one that bites; elsewhere an agent is scripted.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit import front
from kit.control import ScriptedControl
from kit.ngrok_sdk import SdkAgent, sdk_agent
from kit.ports import free_port
from kit.raw_agent import RawAgent
from kit.relay_process import MARK, RelayProcess, running
from kit.scripted_agent import ScriptedAgent
from kit.upstream import HttpUpstream
from portico.relay import limits, link
from portico.tunnel import frames
from portico.tunnel.frames import FIN, ErrorCode
from portico.tunnel.messages import StreamKind

RUST = "ngrok-python/1.4.0 ngrok-rust/0.14.0-pre.14"
REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


@pytest.fixture
async def sdk(relay: RelayProcess, tmp_path: Path) -> AsyncIterator[SdkAgent]:
    """The official SDK, connected through Envoy."""
    ca, certificate, key = front.make_certificate(tmp_path)
    port = free_port()
    agents = front.agents_front(port, str(relay.agents_socket), certificate, key)
    async with front.envoy(tmp_path, agents), sdk_agent(f"localhost:{port}", ca) as agent:
        yield agent


async def bound(relay: RelayProcess, agent: ScriptedAgent, **options: object) -> link.Bind:
    relay.control.options = options
    await agent.bind()
    return await relay.control.wait_for(link.Bind)


async def get(address: str) -> bytes:
    """The answer to one request on a connection of its own."""
    reader, writer = await asyncio.open_unix_connection(address)
    writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


async def test_01_each_small_frame_of_a_rust_sdk_is_answered_at_once(relay: RelayProcess) -> None:
    agent = await relay.agent(agent=RUST)
    bind = await bound(relay, agent)
    _, writer = await asyncio.open_unix_connection(bind.address)
    stream = await agent.stream()
    for _ in range(5):
        before = agent.protocol.bytes_received
        stream.stream.write(b"x")
        async with asyncio.timeout(30):
            while agent.protocol.bytes_received == before:
                await asyncio.sleep(0.001)
    writer.close()


async def test_02_an_answer_awaits_no_fin_and_brings_its_own_in_the_same_frame(relay: RelayProcess) -> None:
    agent = await RawAgent.connect(relay.agents_socket)
    agent.open(3, StreamKind.AUTH, b'{"Version":["3"],"ClientId":"","Extra":{}}')
    _, flags, _, payload = await agent.next_data(3)
    assert flags & FIN
    assert payload.endswith(b"}")
    agent.close()


async def test_03_the_options_of_a_bind_come_back_as_they_went(relay: RelayProcess) -> None:
    agent = await relay.agent()
    options = {"Domain": "a.test", "TLSTermination": {}, "Nobody": {"knows": ["this"]}, "ProxyProto": 0}
    assert (await agent.bind(Opts=options))["Opts"] == options


async def test_04_a_bind_again_is_served_under_the_id_that_the_agent_goes_on_using(relay: RelayProcess) -> None:
    agent = await relay.agent()
    assert (await agent.bind(Id="old-id"))["Id"] == "old-id"
    bind = await relay.control.wait_for(link.Bind)
    _, writer = await asyncio.open_unix_connection(bind.address)
    assert (await agent.stream()).header.id == "old-id"
    writer.close()


async def test_04_the_sdk_binds_again_with_its_id_and_is_served(relay: RelayProcess, sdk: SdkAgent) -> None:
    async with HttpUpstream() as upstream:
        relay.control.options = {"http": 1}
        await sdk.forward(f"http://{upstream.address}")
        first = await relay.control.wait_for(link.Bind)
        relay.control.send(link.CloseSession(session=first.session, reason="try again"))
        again = await relay.control.wait_for(link.Bind, 2)
        assert again.body["Id"]
        assert (await get(again.address)).startswith(b"HTTP/1.1 200")


async def test_05_a_request_waits_while_control_restarts(tmp_path: Path) -> None:
    control = ScriptedControl(tmp_path)
    await control.start()
    async with running(tmp_path, control) as relay:
        agent = await relay.agent()
        control.deaf = True
        asking = asyncio.create_task(agent.bind())
        await control.wait_for(link.Bind)
        await control.stop()
        await asyncio.sleep(0.3)
        control.deaf = False
        await control.start()
        assert (await asyncio.wait_for(asking, 30))["Error"] == ""
        hello = await control.wait_for(link.Hello, 2)
        assert [session.session for session in hello.sessions] == [control.all(link.Bind)[0].session]


async def test_05_an_agent_that_dials_while_no_relay_runs_is_served_by_the_next(tmp_path: Path) -> None:
    control = ScriptedControl(tmp_path)
    await control.start()
    path = tmp_path / "agents.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(16)
        agent = await ScriptedAgent().connect(path)
        authenticating = asyncio.create_task(agent.authenticate())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "portico.relay", "--name", "r0", "--run-dir", str(tmp_path),
            "--agents-fd", str(listening.fileno()), pass_fds=[listening.fileno()],
        )  # fmt: skip
    assert (await asyncio.wait_for(authenticating, 30))["Error"] == ""
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    await control.stop()


async def test_06_a_replaced_session_gives_up_its_sockets_before_anything_else(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    relay.control.send(link.CloseSession(session=bind.session, reason="replaced"))
    figures = await relay.control.figures()
    assert (figures["sessions"], figures["binds"]) == (0, 0)
    await asyncio.wait_for(agent.ended, 30)
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(bind.address)
    assert relay.control.all(link.SessionEnded) == []


async def test_07_a_rust_session_gets_no_more_streams_than_it_bears(relay: RelayProcess) -> None:
    agent = await relay.agent(agent=RUST)
    bind = await bound(relay, agent, http=1)
    visitors = [await asyncio.open_unix_connection(bind.address) for _ in range(limits.RUST_STREAMS)]
    for _, writer in visitors:
        writer.write(REQUEST)
    pages = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in visitors]
    done, _ = await asyncio.wait(pages, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    head = done.pop().result()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"{MARK}: 20023".encode() in head
    await agent.stream(limits.RUST_STREAMS - 1)
    assert not agent.ended.done()
    for page, (_, writer) in zip(pages, visitors, strict=True):
        page.cancel()
        writer.close()


async def test_07_the_sdk_keeps_its_session_when_more_visitors_come_than_it_bears(
    relay: RelayProcess, sdk: SdkAgent
) -> None:
    async with HttpUpstream() as upstream:
        await sdk.forward(f"tcp://{upstream.address}", proto="tcp")
        bind = await relay.control.wait_for(link.Bind)
        visitors = [await asyncio.open_unix_connection(bind.address) for _ in range(530)]
        turned_away = [asyncio.create_task(reader.read()) for reader, _ in visitors]
        async with asyncio.timeout(60):
            while sum(task.done() for task in turned_away) < 530 - limits.RUST_STREAMS:
                await asyncio.sleep(0.01)
        for task, (_, writer) in zip(turned_away, visitors, strict=True):
            task.cancel()
            writer.close()
        async with asyncio.timeout(60):
            while (await relay.control.figures())["streams"] > 0:
                await asyncio.sleep(0.05)
        assert (await get(bind.address)).startswith(b"HTTP/1.1 200")
        assert relay.control.all(link.SessionEnded) == []


async def test_08_a_visitor_who_left_is_told_with_fin_and_then_rst(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    _, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    stream = await agent.stream()
    writer.close()
    await stream.until(lambda seen: seen.over)
    assert stream.finished
    assert stream.lost == ErrorCode.CANCELLED


async def test_08_the_sdk_closes_its_upstream_connection_when_the_visitor_leaves(
    relay: RelayProcess, sdk: SdkAgent
) -> None:
    async with HttpUpstream() as upstream:
        await sdk.forward(f"tcp://{upstream.address}", proto="tcp")
        bind = await relay.control.wait_for(link.Bind)
        _, writer = await asyncio.open_unix_connection(bind.address)
        async with asyncio.timeout(30):
            while upstream.open != 1:
                await asyncio.sleep(0.01)
            writer.close()
            while upstream.open != 0:
                await asyncio.sleep(0.01)


async def test_09_a_session_that_the_sdk_closed_silently_is_found_dead(relay: RelayProcess, sdk: SdkAgent) -> None:
    async with HttpUpstream() as upstream:
        relay.control.options = {"http": 1}
        await sdk.forward(f"http://{upstream.address}")
        bind = await relay.control.wait_for(link.Bind)
        assert (await get(bind.address)).startswith(b"HTTP/1.1 200")
        await sdk.ask("close_session")
        answer = asyncio.create_task(get(bind.address))
        ended = await relay.control.wait_for(link.SessionEnded)
        assert ended.session == bind.session
        assert b"200 OK" not in await answer


async def test_09_an_agent_that_sends_no_heartbeat_is_reaped(relay: RelayProcess) -> None:
    relay.control.heartbeat = (0.0, 0.0)
    agent = await RawAgent.connect(relay.agents_socket)
    await agent.authenticate()
    await agent.until_closed()
    assert "heartbeat" in (await relay.control.wait_for(link.SessionEnded)).reason
    assert (await relay.control.figures())["heartbeats_missed_total"] == 1


async def test_10_every_heartbeat_is_echoed_and_ours_is_never_finished(relay: RelayProcess) -> None:
    relay.control.heartbeat = (1.0, 60.0)
    agent = await RawAgent.connect(relay.agents_socket)
    agent.open(5, StreamKind.HEARTBEAT, b"one.")
    assert (await agent.next_data(5))[3] == b"one."
    await agent.authenticate()
    ours = await agent.next_data(2)
    assert ours[3][:4] == int(StreamKind.HEARTBEAT).to_bytes(4, "big")
    for nonce in (b"two.", b"thre", b"four"):
        agent.data(5, nonce)
    echoes = b""
    while len(echoes) < 12:
        echoes += (await agent.next_data(5))[3]
    assert echoes == b"two.threfour"
    for _ in range(2):
        assert not ours[1] & FIN
        agent.data(2, ours[3][-4:])
        ours = await agent.next_data(2)
    agent.close()


async def test_11_a_session_is_ended_by_goaway_and_a_closed_connection(relay: RelayProcess) -> None:
    agent = await RawAgent.connect(relay.agents_socket)
    await agent.authenticate()
    session = (await relay.control.wait_for(link.Authenticate)).session
    relay.control.send(link.CloseSession(session=session, reason="token revoked"))
    assert (await agent.until_closed())[-1][0] == frames.GOAWAY


async def test_11_a_goaway_with_the_rust_sdks_wrong_length_ends_the_session_quietly(relay: RelayProcess) -> None:
    agent = await RawAgent.connect(relay.agents_socket)
    await agent.authenticate()
    text = b"going away now"
    agent.send(frames.HEADER.pack(len(text) << 8 | frames.GOAWAY << 4, 0), bytes(8), text)
    assert frames.GOAWAY not in [frame[0] for frame in await agent.until_closed()]
    assert "ended the session" in (await relay.control.wait_for(link.SessionEnded)).reason


async def test_12_keys_are_read_in_any_spelling(relay: RelayProcess) -> None:
    agent = await ScriptedAgent().connect(relay.agents_socket)
    body = {"version": ["3"], "clientid": "", "EXTRA": {"useragent": RUST, "authtoken": "t"}}
    assert (await agent.ask(StreamKind.AUTH, **body))["Error"] == ""
    bind = await bound(relay, agent)
    _, writer = await asyncio.open_unix_connection(bind.address)
    stream = await agent.stream()
    assert (await agent.ask(StreamKind.UNBIND, ID=stream.header.id))["Error"] == ""
    assert (await relay.control.figures())["binds"] == 0
    writer.close()
