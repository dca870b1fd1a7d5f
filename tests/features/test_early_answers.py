"""Answers that the edge gives before a request has ended: whom they reach, and when they come.

In HTTP/2 Envoy resets a stream that it has answered before its request has ended, with NO_ERROR (RFC 9113, section
8.1). curl up to 7.88 loses such an answer if the reset comes while it still sends.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, PingAckReceived, ResponseReceived, StreamEnded, StreamReset

from kit.curl import curl
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import Networks
from portico.model.limits import VisitorLimits
from portico.translate.lookup import WAITED_FOR

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = 1
LIMIT = 2 * WAITED_FOR


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge(limits=VisitorLimits(body_bytes=LIMIT)) as running:
        upstream = await running.serve(http_upstream("a"), "a")
        await running.publish(
            endpoint("https://a.edge.test", upstream),
            endpoint("https://off.edge.test"),
            endpoint("https://*.off.edge.test"),
            endpoint("https://closed.edge.test", upstream, networks=Networks(allowed=("192.0.2.0/24",))),
        )
        yield running


class Posting:
    """A POST in HTTP/2 whose body comes later than its head."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = H2Connection(H2Configuration(client_side=True))
        self.heard: list[Event] = []

    @classmethod
    async def open(cls, edge: TranslatedEdge, host: str, length: int) -> "Posting":
        """Send the head."""
        context = edge.visitor()
        context.set_alpn_protocols(["h2"])
        posting = cls(*await edge.open(host, tls=context))
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", host), (":path", "/")]
        posting._connection.initiate_connection()
        posting._connection.send_headers(STREAM, [*fields, ("content-length", str(length))])
        return posting

    async def hear(self, last: type[Event]) -> None:
        """Everything until an event of this kind has come."""
        while not any(isinstance(event, last) for event in self.heard):
            self._writer.write(self._connection.data_to_send())
            data = await self._reader.read(65_536)
            assert data, self.heard
            self.heard += self._connection.receive_data(data)

    async def hear_head(self) -> None:
        """What Envoy says to the head alone: it answers a PING that came behind it later."""
        self._connection.ping(b"after it")
        await self.hear(PingAckReceived)

    def end(self, body: bytes) -> None:
        self._connection.send_data(STREAM, body, end_stream=True)

    @property
    def status(self) -> int:
        """What was answered; 0 for nothing yet."""
        heads = (dict(event.headers or ()) for event in self.heard if isinstance(event, ResponseReceived))
        return next((int(head[b":status"]) for head in heads), 0)

    @property
    def resets(self) -> list[int]:
        return [int(event.error_code or 0) for event in self.heard if isinstance(event, StreamReset)]

    def close(self) -> None:
        self._writer.close()


HOSTS = ("off.edge.test", "one.off.edge.test", "nobody.edge.test", "elsewhere.test")


@pytest.mark.parametrize("host", HOSTS)
async def test_a_small_body_comes_before_the_page_of_a_host_that_nothing_serves(
    edge: TranslatedEdge, host: str
) -> None:
    posting = await Posting.open(edge, host, 3)
    await posting.hear_head()
    assert posting.status == 0
    posting.end(b"a=1")
    await posting.hear(StreamEnded)
    assert posting.status == 404
    assert posting.resets == []
    posting.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_curl_hears_the_page(edge: TranslatedEdge, host: str) -> None:
    authority = edge.directory / "authority.pem"
    authority.write_text(edge.authority.pem)
    for _ in range(5):
        answer = await asyncio.to_thread(curl, f"https://{host}:{edge.https}/", authority, "--http2", "--data", "a=1")
        assert (answer.exit, answer.status, answer.version) == (0, 404, "2")


@pytest.mark.parametrize(
    ("host", "length", "status"),
    [
        ("off.edge.test", WAITED_FOR + 1, 404),
        ("closed.edge.test", 3, 403),
        ("a.edge.test", LIMIT + 1, 413),
    ],
    ids=["too large to wait for", "refused by address", "over the limit"],
)
async def test_other_refusals_come_at_once(edge: TranslatedEdge, host: str, length: int, status: int) -> None:
    """They are to cost nothing, so whoever still sends must hear an answer that is followed by a reset."""
    posting = await Posting.open(edge, host, length)
    await posting.hear(StreamReset)
    assert posting.status == status
    assert posting.resets == [ErrorCodes.NO_ERROR]
    posting.close()


async def test_a_request_without_a_length_is_not_waited_for(edge: TranslatedEdge) -> None:
    head = b"POST / HTTP/1.1\r\nhost: off.edge.test\r\ntransfer-encoding: chunked\r\n\r\n"
    reader, writer = await edge.open("off.edge.test")
    writer.write(head)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    writer.close()


@pytest.mark.parametrize(("host", "status", "answers"), [("a", 200, 20), ("off", 404, 2), ("nobody", 404, 2)])
async def test_of_pipelined_requests_envoy_itself_answers_two(
    edge: TranslatedEdge, host: str, status: int, answers: int
) -> None:
    """Envoy 1.40: the others wait for the visitor's next byte. Each that an upstream answers is answered.

    The runtime's `http.max_requests_per_io_cycle: 1` lets all be answered, for 0.7 % of the instructions of every
    request (`benchmarks.envoy_cost`); 2 and more do not.
    """
    request = b"GET / HTTP/1.1\r\nhost: %s.edge.test\r\n\r\n" % host.encode()
    heard = await edge.raw(f"{host}.edge.test", request * 20)
    assert heard.count(b"HTTP/1.1 %d " % status) == answers
