"""Upstreams that close a kept connection while the next request is on its way to them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kit.relay_process import MARK, RelayProcess, running
from kit.scripted_agent import Recorder, ScriptedAgent
from portico.relay import link
from portico.relay.unanswered import KEEP_BYTES
from portico.tunnel import rpc
from portico.tunnel.frames import ErrorCode
from portico.tunnel.messages import StreamKind, UpstreamFailed
from portico.tunnel.transport import Stream

GET = b"GET /1 HTTP/1.1\r\nhost: a.test\r\naccept: application/json\r\n\r\n"
POST = GET.replace(b"GET", b"POST").replace(b"host", b"content-length: 2\r\nhost") + b"hi"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ENDS: list[Callable[[Stream], None]] = [Stream.write_eof, Stream.reset, Stream.abandon]


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayProcess]:
    async with running(tmp_path) as process:
        yield process


class Kept:
    """A visitor's connection on which one exchange is over, as Envoy keeps it in its pool."""

    def __init__(self, relay: RelayProcess, agent: ScriptedAgent, first: bytes = GET) -> None:
        self.relay = relay
        self.agent = agent
        self._first = first

    async def __aenter__(self) -> "Kept":
        self.relay.control.options = {"http": 1}
        await self.agent.bind("https")
        bind = await self.relay.control.wait_for(link.Bind)
        self.reader, self.writer = await asyncio.open_unix_connection(bind.address)
        self.stream = await self.exchange(self._first, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def exchange(self, request: bytes, number: int) -> Recorder:
        """A request that the agent's stream `number` answers."""
        self.writer.write(request)
        return await self.answered(request, number)

    async def answered(self, request: bytes, number: int) -> Recorder:
        """A request is on the stream `number`, and is answered there."""
        stream = await self.agent.stream(number)
        await stream.until(lambda seen: seen.received.endswith(request))
        stream.stream.write(ANSWER)
        assert await self.reader.readexactly(len(ANSWER)) == ANSWER
        return stream

    async def send_into(self, stream: Recorder, request: bytes, end: Callable[[Stream], None]) -> None:
        """A request that `stream` still takes, and then ends."""
        before = len(stream.received)
        self.writer.write(request)
        await stream.until(lambda seen: len(seen.received) == before + len(request))
        end(stream.stream)

    async def is_shown_the_page(self, streams: int) -> bytes:
        """It gets the 502 page as its last answer, after so many streams."""
        page = await self.reader.read()
        assert page.startswith(b"HTTP/1.1 502 ")
        assert f"{MARK}: 8012".encode() in page
        assert len(self.agent.streams) == streams
        return page

    async def retried(self) -> float:
        """How many requests were sent again."""
        return (await self.relay.control.figures())["streams_retried_total"]


@pytest.mark.parametrize("end", ENDS)
async def test_a_get_is_answered_by_a_second_stream(relay: RelayProcess, end: Callable[[Stream], None]) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        for number in (1, 2, 3):
            await kept.send_into(await kept.agent.stream(number), GET, end)
            again = await kept.answered(GET, number + 1)
            assert bytes(again.received) == GET
        await kept.exchange(POST, 4)
        assert await kept.retried() == 3


async def test_a_body_that_is_still_sent_goes_on_in_the_second_stream(relay: RelayProcess) -> None:
    head = GET.replace(b"host", b"content-length: 6\r\nhost")
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, head + b"abc", Stream.write_eof)
        again = await kept.agent.stream(2)
        await again.until(lambda seen: bytes(seen.received) == head + b"abc")
        await kept.exchange(b"def", 2)
        assert bytes(again.received) == head + b"abcdef"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
async def test_a_post_is_not_sent_twice(relay: RelayProcess, method: bytes, end: Callable[[Stream], None]) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, POST.replace(b"POST", method), end)
        await kept.is_shown_the_page(1)
        assert await kept.retried() == 0


async def test_a_full_queue_is_not_believed_of_a_stream_that_has_answered(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, POST, lambda stream: stream.reset(ErrorCode.ACCEPT_QUEUE_FULL))
        await kept.is_shown_the_page(1)


async def test_a_get_that_fails_twice_gets_the_page_with_the_reason(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, GET, Stream.write_eof)
        second = await kept.agent.stream(2)
        failed = UpstreamFailed(id=second.header.id, code=8012, reason="connection refused")
        rpc.tell(kept.agent.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
        second.stream.write_eof()
        assert b"connection refused" in await kept.is_shown_the_page(2)
        assert await kept.retried() == 1


async def test_a_request_larger_than_what_is_kept_is_not_sent_again(relay: RelayProcess) -> None:
    head = GET.replace(b"host", b"content-length: %d\r\nhost" % KEEP_BYTES)
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, head + bytes(KEEP_BYTES), Stream.write_eof)
        await kept.is_shown_the_page(1)


async def test_a_request_whose_answer_has_begun_is_not_sent_again(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        kept.writer.write(GET)
        await kept.stream.until(lambda seen: seen.received.endswith(GET + GET))
        kept.stream.stream.write(b"H")
        assert await kept.reader.readexactly(1) == b"H"
        kept.stream.stream.write_eof()
        assert await kept.reader.read() == b""
        assert len(kept.agent.streams) == 1


@pytest.mark.parametrize("field", [b"content-length: 9999", b"transfer-encoding: chunked", b"upgrade: websocket"])
async def test_a_body_that_looks_like_a_request_is_none(relay: RelayProcess, field: bytes) -> None:
    """An early answer, such as 100, comes before the body: sent again alone, it would pass by all that Envoy checks."""
    head = GET.replace(b"host", field + b"\r\nhost")
    async with Kept(relay, await relay.agent(), first=head) as kept:
        await kept.send_into(kept.stream, GET, Stream.write_eof)
        assert await kept.reader.read() == b""
        assert len(kept.agent.streams) == 1


async def test_requests_that_do_not_wait_for_answers_are_passed_on_and_never_sent_again(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        await kept.exchange(GET + GET, 1)
        await kept.send_into(kept.stream, GET + POST, Stream.write_eof)
        assert await kept.reader.read() == b""
        assert len(kept.agent.streams) == 1


async def test_requests_one_by_one_without_waiting_are_never_sent_again(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        for request in (GET, POST):
            await kept.send_into(kept.stream, request, lambda _: None)
        kept.stream.stream.write_eof()
        await kept.is_shown_the_page(1)


@pytest.mark.parametrize("request_", [GET, POST])
async def test_a_request_that_crosses_the_streams_end_goes_to_a_new_one(relay: RelayProcess, request_: bytes) -> None:
    """Nothing of it was passed on, so any request may."""
    async with Kept(relay, await relay.agent()) as kept:
        kept.stream.stream.write_eof()
        await kept.stream.until(lambda seen: seen.over)
        again = await kept.exchange(request_, 2)
        assert bytes(again.received) == request_
        assert bytes(kept.stream.received) == GET
        assert await kept.retried() == 0


async def test_a_connection_whose_upstream_has_closed_is_closed_a_little_later(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        kept.stream.stream.write_eof()
        assert await kept.reader.read() == b""


async def test_a_visitor_who_leaves_meanwhile_leaves_nothing(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        kept.stream.stream.write_eof()
        await kept.stream.until(lambda seen: seen.over)
        kept.writer.write_eof()
        assert await kept.reader.read() == b""
        assert (await kept.relay.control.figures())["streams"] == 0


async def test_an_answer_that_ends_with_its_connection_still_does(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        kept.stream.stream.write(b"rest")
        kept.stream.stream.write_eof()
        assert await kept.reader.read() == b"rest"


async def test_with_the_session_a_second_request_is_lost_too(relay: RelayProcess) -> None:
    async with Kept(relay, await relay.agent()) as kept:
        await kept.send_into(kept.stream, GET, lambda _: kept.agent.protocol.abort("crash"))
        assert await kept.reader.read() == b""
