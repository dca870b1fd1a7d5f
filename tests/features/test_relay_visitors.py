"""Visitors of a bind: pages where the agent cannot answer, half-close, limits, addresses, drain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.control import ScriptedControl
from kit.relay_process import MARK, RelayProcess, running
from kit.scripted_agent import ScriptedAgent
from portico.model.pages import PROBE_ANSWER
from portico.relay import link
from portico.tunnel import rpc
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind, UpstreamFailed
from portico.tunnel.proxy_protocol import ProxyInfo, ProxyReader
from portico.tunnel.transport import Stream

REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\naccept: application/json\r\n\r\n"
VISITOR = ProxyInfo(("203.0.113.9", 5001), ("203.0.113.1", 443))


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


async def bound(relay: RelayProcess, agent: ScriptedAgent, **options: object) -> link.Bind:
    """A new bind of `agent` whose lease has `options`."""
    relay.control.options = options
    count = len(relay.control.all(link.Bind))
    await agent.bind("https" if options.get("http") else "tcp")
    return await relay.control.wait_for(link.Bind, count + 1)


async def test_a_stream_that_ends_unanswered_gives_the_502_page_with_the_mark(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    stream = await agent.stream()
    stream.stream.write_eof()
    page = await reader.read()
    assert page.startswith(b"HTTP/1.1 502 ")
    assert f"{MARK}: 8012".encode() in page
    assert b'"error_code": "ERR_NGROK_8012"' in page
    writer.close()


async def test_the_agents_reason_is_on_the_page_escaped(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST.replace(b"application/json", b"text/html"))
    stream = await agent.stream()
    failed = UpstreamFailed(id=stream.header.id, code=8012, reason="connect to <localhost>: refused")
    rpc.tell(agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
    stream.stream.write_eof()
    page = await reader.read()
    assert b"connect to &lt;localhost&gt;: refused" in page
    writer.close()


async def test_a_request_whose_body_is_still_sent_gets_its_502(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9999999\r\n\r\n")
    stream = await agent.stream()
    stream.stream.pause_reading()
    for _ in range(64):
        writer.write(bytes(16_384))
    stream.stream.reset(ErrorCode.INTERNAL)
    assert (await reader.readline()).startswith(b"HTTP/1.1 502 ")
    for _ in range(64):
        writer.write(bytes(16_384))
        await writer.drain()
    writer.close()


async def test_a_stream_that_ends_between_two_answers_is_a_plain_close(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    stream = await agent.stream()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    stream.stream.write(answer)
    assert await reader.readexactly(len(answer)) == answer
    stream.stream.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_where_envoy_speaks_http2_an_unanswered_stream_is_a_closed_connection(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=2)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    writer.write(preface)
    stream = await agent.stream()
    await stream.until(lambda seen: bytes(seen.received) == preface)
    stream.stream.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_a_head_request_gets_a_page_without_a_body(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST.replace(b"GET", b"HEAD"))
    (await agent.stream()).stream.write_eof()
    page = await reader.read()
    assert page.startswith(b"HTTP/1.1 502 ")
    assert page.endswith(b"\r\n\r\n")
    writer.close()


async def test_half_close_goes_through_tcp_in_both_directions(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(b"question")
    writer.write_eof()
    stream = await agent.stream()
    await stream.until(lambda seen: seen.finished)
    assert bytes(stream.received) == b"question"
    stream.stream.write(b"answer")
    stream.stream.write_eof()
    assert await reader.read() == b"answer"
    writer.close()
    await stream.until(lambda seen: seen.over)
    assert stream.lost is None


async def test_an_upstream_that_finishes_first_still_gets_all(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(b"x" * 1_000_000)
    writer.write_eof()
    stream = await agent.stream()
    stream.stream.pause_reading()
    stream.stream.write(b"bye")
    stream.stream.write_eof()
    assert await reader.read() == b"bye"
    stream.stream.resume_reading()
    await stream.until(lambda seen: seen.over)
    assert (stream.lost, len(stream.received)) == (None, 1_000_000)
    writer.close()


async def test_what_a_visitor_sent_before_leaving_arrives(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    _, writer = await asyncio.open_unix_connection(bind.address)
    message = bytes(range(256)) * 600
    writer.write(message)
    await writer.drain()
    writer.close()
    stream = await agent.stream()
    await stream.until(lambda seen: seen.finished)
    assert bytes(stream.received) == message
    assert not stream.over
    stream.stream.write(b"to nobody")
    await stream.until(lambda seen: seen.over)
    assert stream.lost == ErrorCode.CANCELLED


async def test_the_visitors_address_is_told_to_the_agent_and_to_the_upstream(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, visitor_address=True, proxy_protocol=2)
    _, writer = await asyncio.open_unix_connection(bind.address)
    header = VISITOR.encode(2)
    writer.write(header[:10])
    await writer.drain()
    writer.write(header[10:] + b"hello")
    stream = await agent.stream()
    assert stream.header.client_addr == "203.0.113.9:5001"
    await stream.until(lambda seen: seen.received.endswith(b"hello"))
    reader = ProxyReader()
    told = reader.feed(bytes(stream.received))
    assert told is not None
    assert (told.source, told.destination, reader.rest) == (VISITOR.source, VISITOR.destination, b"hello")
    writer.close()


async def test_a_visitor_without_the_awaited_address_is_cut(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, visitor_address=True)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    assert agent.streams == []
    writer.close()


async def test_an_unbound_socket_is_gone_and_its_path_never_comes_back(relay: RelayProcess) -> None:
    agent = await relay.agent()
    first = await bound(relay, agent)
    await agent.ask(StreamKind.UNBIND, Id=relay.control.all(link.Bind)[0].body["Id"] or "bind2")
    again = await bound(relay, agent)
    assert first.address != again.address
    figures = await relay.control.figures()
    assert figures["binds_opened_total"] == 2


async def test_stop_bind_cuts_visitors_and_tells_the_agent(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    stream = await agent.stream()
    order = link.StopBind(session=bind.session, bind=stream.header.id, message="over", error_code="ERR_NGROK_3200")
    relay.control.send(order)
    assert await reader.read() == b""
    await stream.until(lambda seen: seen.over)
    with pytest.raises(OSError, match=r"No such file|refused"):
        await asyncio.open_unix_connection(bind.address)
    async with asyncio.timeout(30):
        while not agent.requests:
            await asyncio.sleep(0.01)
    kind, body = agent.requests[0]
    assert (kind, body["Message"], body["ErrorCode"]) == (StreamKind.STOP_TUNNEL, "over", "ERR_NGROK_3200")
    writer.close()


async def test_figures_count_what_happened(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent)
    _, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(b"12345")
    stream = await agent.stream()
    await stream.until(lambda seen: len(seen.received) == 5)
    figures = await relay.control.figures()
    assert (figures["sessions"], figures["binds"], figures["streams"]) == (1, 1, 1)
    assert (figures["streams_opened_total"], figures["bytes_in_total"]) == (1, 5)
    writer.close()


async def test_drain_sends_idle_agents_away_and_waits_for_busy_ones(tmp_path: Path) -> None:
    control = ScriptedControl(tmp_path)
    await control.start()
    async with running(tmp_path, control) as relay:
        idle, busy = await relay.agent(), await relay.agent()
        bind = await bound(relay, busy)
        reader, writer = await asyncio.open_unix_connection(bind.address)
        stream = await busy.stream()
        control.send(link.Drain(grace=30.0))
        await asyncio.wait_for(idle.ended, 30)
        assert not busy.ended.done()
        stream.stream.write(b"done")
        stream.stream.write_eof()
        assert await reader.read() == b"done"
        writer.close()
        await asyncio.wait_for(busy.ended, 30)
        assert await asyncio.wait_for(relay.process.wait(), 30) == 0


async def test_sigterm_ends_the_process_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as relay:
        agent = await relay.agent()
        relay.process.terminate()
        await asyncio.wait_for(agent.ended, 30)
        assert await asyncio.wait_for(relay.process.wait(), 30) == 0


async def test_a_stream_that_the_agent_had_no_room_for_is_offered_again(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    record, refused = agent.serve, []

    def serve(stream: Stream, header: ProxyHeader) -> StreamHandler:
        if len(refused) == 2:
            return record(stream, header)
        refused.append(stream)
        asyncio.get_running_loop().call_soon(stream.reset, ErrorCode.ACCEPT_QUEUE_FULL)
        return StreamHandler()

    agent.serve = serve
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    stream = await agent.stream()
    await stream.until(lambda seen: bytes(seen.received) == REQUEST)
    stream.stream.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    assert (await relay.control.figures())["streams_retried_total"] == 2
    writer.close()


async def test_a_stream_that_the_agent_never_has_room_for_gives_the_page(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)

    def serve(stream: Stream, _: ProxyHeader) -> StreamHandler:
        asyncio.get_running_loop().call_soon(stream.reset, ErrorCode.ACCEPT_QUEUE_FULL)
        return StreamHandler()

    agent.serve = serve
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    assert (await reader.readline()).startswith(b"HTTP/1.1 502")
    writer.close()


async def test_a_stream_that_the_agent_refuses_gives_the_503_page(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)

    def serve(stream: Stream, _: ProxyHeader) -> StreamHandler:
        asyncio.get_running_loop().call_soon(stream.reset, ErrorCode.REFUSED)
        return StreamHandler()

    agent.serve = serve
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()


async def test_visitors_are_cut_with_their_session(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST)
    await agent.stream()
    agent.protocol.abort("crash")
    assert await reader.read() == b""
    writer.close()


LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


@pytest.mark.parametrize(
    "options", [{"http": 1}, {"http": 2}, {"visitor_address": True}], ids=["http1", "http2", "tcp"]
)
async def test_a_check_by_connection_means_the_upstream(relay: RelayProcess, options: dict[str, object]) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, **options)

    for number, failing in enumerate((True, False), 1):
        reader, writer = await asyncio.open_unix_connection(bind.address)
        writer.write(LOCAL)
        stream = await agent.stream(number)
        if failing:
            stream.stream.write_eof()
        assert await reader.read() == (b"" if failing else PROBE_ANSWER)
        writer.close()


async def test_a_check_that_goes_on_to_ask_is_a_visitor(relay: RelayProcess) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1, visitor_address=True)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(LOCAL)
    await agent.stream()
    writer.write(REQUEST)
    stream = await agent.stream(2)
    stream.stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("seen", [False, True])
async def test_a_page_says_that_nobody_saw_the_request(relay: RelayProcess, seen: bool) -> None:
    agent = await relay.agent()
    bind = await bound(relay, agent, http=1)
    reader, writer = await asyncio.open_unix_connection(bind.address)
    writer.write(REQUEST.replace(b"GET", b"POST"))
    stream = await agent.stream()
    number = 0 if seen else stream.stream.id
    failed = UpstreamFailed(id=stream.header.id, code=8012, reason="refused", stream=number)
    rpc.tell(agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
    stream.stream.write_eof()
    page = await reader.read()
    assert (f"{MARK}-unseen: 1".encode() in page) is not seen
    assert f"{MARK}: 8012".encode() in page
    writer.close()
