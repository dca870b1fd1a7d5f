import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from portico.agent.dial_reason import DialError, DialReason
from portico.agent.request_spans import RequestSpans
from portico.agent.traced_connection import HEAD_LIMIT, TracedConnection
from portico.agent.upstream import parse_upstream

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01\r\n".encode()
GET = b"GET /path?token=secret HTTP/1.1\r\nHost: app.example.com\r\nAuthorization: Bearer secret\r\n%s\r\n" % SAMPLED
POST = b"POST /up HTTP/1.1\r\nHost: a\r\n%sContent-Length: 5\r\n\r\n" % SAMPLED
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % SAMPLED
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


class Traced:
    """A connection, and the spans that have ended."""

    def __init__(self, upstream: str = "http://10.0.0.1:8080") -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracer, address = provider.get_tracer("test"), parse_upstream(upstream)
        self.connection = TracedConnection(lambda head: RequestSpans(tracer, head, address), "192.0.2.1:5000", "https")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def of_kind(self, kind: SpanKind) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.kind is kind)
        return span

    def exchange(self, request: bytes, answer: bytes) -> bytes:
        passed = self.connection.from_visitor(request)
        self.connection.from_upstream(answer)
        return passed


@pytest.fixture
def traced() -> Iterator[Traced]:
    return Traced()


def test_two_spans_stand_between_the_edges_and_the_upstreams(traced: Traced) -> None:
    passed = traced.exchange(GET, OK)
    server, client = traced.of_kind(SpanKind.SERVER), traced.of_kind(SpanKind.CLIENT)
    assert server.parent is not None
    assert client.parent is not None
    assert server.context is not None
    assert client.context is not None
    assert format_trace_id(server.context.trace_id) == TRACE
    assert format_span_id(server.parent.span_id) == PARENT
    assert client.parent.span_id == server.context.span_id
    written = f"traceparent: 00-{TRACE}-{format_span_id(client.context.span_id)}-01\r\n".encode()
    assert passed == b"GET /path?token=secret HTTP/1.1\r\n" + written + GET.split(b"\r\n", 1)[1].replace(SAMPLED, b"")


def test_what_spans_tell(traced: Traced) -> None:
    traced.exchange(GET, OK)
    assert dict(traced.of_kind(SpanKind.SERVER).attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.path": "/path",
        "url.scheme": "https",
        "server.address": "app.example.com",
        "client.address": "192.0.2.1",
    }
    assert dict(traced.of_kind(SpanKind.CLIENT).attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "10.0.0.1",
        "server.port": 8080,
        "url.full": "http://10.0.0.1:8080/path",
    }
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


def test_a_request_without_a_trace_begins_one(traced: Traced) -> None:
    passed = traced.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK)
    client = traced.of_kind(SpanKind.CLIENT)
    assert client.context is not None
    assert traced.of_kind(SpanKind.SERVER).parent is None
    # 03: sampled, and a random trace id (W3C Trace Context, level 2).
    assert f"-{format_span_id(client.context.span_id)}-03\r\n".encode() in passed


def test_what_the_edge_did_not_sample_is_told_so_and_not_recorded(traced: Traced) -> None:
    passed = traced.exchange(GET.replace(b"-01\r\n", b"-00\r\n"), OK)
    assert f"traceparent: 00-{TRACE}-".encode() in passed
    assert b"-00\r\n" in passed
    assert traced.spans == []


def test_a_broken_traceparent_is_replaced(traced: Traced) -> None:
    passed = traced.exchange(b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: x\r\nTraceParent: y\r\n\r\n", OK)
    assert passed.lower().count(b"traceparent") == 1
    assert traced.of_kind(SpanKind.SERVER).parent is None


@pytest.mark.parametrize(
    ("status", "server", "client"),
    [(204, False, False), (304, False, False), (404, False, True), (500, True, True), (503, True, True)],
)
def test_errors_by_status(traced: Traced, status: int, *, server: bool, client: bool) -> None:
    traced.exchange(GET, b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    for kind, failed in ((SpanKind.SERVER, server), (SpanKind.CLIENT, client)):
        span = traced.of_kind(kind)
        assert (span.status.status_code is StatusCode.ERROR) is failed
        assert (span.attributes or {}).get("error.type") == (str(status) if failed else None)


def test_an_upstream_that_cannot_be_reached(traced: Traced) -> None:
    traced.connection.from_visitor(GET)
    traced.connection.failed(DialError(DialReason.REFUSED, "…"))
    traced.connection.closed()
    server, client = traced.of_kind(SpanKind.SERVER), traced.of_kind(SpanKind.CLIENT)
    assert (server.attributes or {})["http.response.status_code"] == 502
    assert "http.response.status_code" not in (client.attributes or {})
    assert {(span.attributes or {})["error.type"] for span in (server, client)} == {"refused"}


def test_an_upstream_that_closes_without_an_answer(traced: Traced) -> None:
    traced.connection.from_visitor(GET)
    traced.connection.closed()
    assert {(span.attributes or {})["error.type"] for span in traced.spans} == {"closed"}


def test_a_long_answer_ends_the_spans_with_its_last_byte(traced: Traced) -> None:
    traced.exchange(GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    assert traced.spans == []
    traced.connection.from_upstream(b"0\r\n\r\n")
    assert len(traced.spans) == 2


def test_an_answer_that_ends_with_its_connection(traced: Traced) -> None:
    traced.exchange(GET, b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert traced.spans == []
    traced.connection.closed()
    assert [span.status.status_code for span in traced.spans] == [StatusCode.UNSET] * 2


def test_a_websocket_ends_with_its_connection(traced: Traced) -> None:
    traced.exchange(
        UPGRADE, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81"
    )
    assert traced.connection.from_visitor(b"\x81\x05GET /") == b"\x81\x05GET /"
    traced.connection.from_upstream(b"HTTP/1.1 500 no\r\n\r\n")
    assert traced.spans == []
    traced.connection.closed()
    assert (traced.of_kind(SpanKind.SERVER).attributes or {})["http.response.status_code"] == 101


def test_one_connection_carries_many_requests(traced: Traced) -> None:
    traced.exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    traced.connection.from_visitor(POST)
    traced.connection.from_upstream(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert traced.exchange(b"hello", OK) == b"hello"
    traced.exchange(GET, OK)
    methods = [(span.attributes or {})["http.request.method"] for span in traced.spans if span.kind is SpanKind.SERVER]
    assert methods == ["HEAD", "POST", "GET"]


def test_a_method_that_is_no_standards(traced: Traced) -> None:
    traced.exchange(b"PROPFIND /a HTTP/1.1\r\nHost: a\r\n\r\n", OK)
    attributes = traced.of_kind(SpanKind.SERVER).attributes or {}
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "PROPFIND")


def test_a_socket_as_upstream() -> None:
    traced = Traced("unix:/run/app.sock")
    traced.exchange(GET, OK)
    attributes = traced.of_kind(SpanKind.CLIENT).attributes or {}
    assert (attributes["server.address"], attributes["network.transport"]) == ("/run/app.sock", "unix")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\r\n\r\n", b"NOT HTTP\r\n\r\n", b"\r\n\r\n", b"x" * (HEAD_LIMIT + 1)])
def test_what_is_no_http_passes_as_it_is(traced: Traced, junk: bytes) -> None:
    assert traced.connection.from_visitor(junk) == junk
    assert traced.connection.from_visitor(b"more") + traced.connection.rest() == b"more"


@given(st.lists(st.integers(0, len(GET + POST)), max_size=6))
def test_however_a_head_is_split_what_passes_is_the_same(cuts: list[int]) -> None:
    traced, whole = Traced(), POST
    ends = sorted({cut for cut in cuts if 0 < cut < len(whole)})
    parts = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    passed = b"".join(traced.connection.from_visitor(part) for part in [*parts, b"hel", b"lo"])
    traced.connection.from_upstream(OK)
    client = traced.of_kind(SpanKind.CLIENT)
    assert client.context is not None
    head, _, body = passed.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert f"00-{TRACE}-{format_span_id(client.context.span_id)}-01".encode() in head
    assert sorted(head.split(b"\r\n")[1:])[:-1] == sorted([b"Content-Length: 5", b"Host: a"])


PIECES = st.sampled_from([GET, POST, b"hello", UPGRADE, OK, OK[:20], b"\r\n\r\n"]) | st.binary(max_size=60)


@given(st.lists(st.tuples(st.booleans(), PIECES), max_size=12))
def test_whatever_comes_nothing_is_raised_and_nothing_is_lost(pieces: list[tuple[bool, bytes]]) -> None:
    traced = Traced()
    sent = passed = b""
    for from_visitor, data in pieces:
        if from_visitor:
            sent += data
            passed += traced.connection.from_visitor(data)
        else:
            traced.connection.from_upstream(data)
    passed += traced.connection.rest()
    traced.connection.closed()
    plain = re.compile(rb"traceparent: [^\r]*\r\n")
    assert plain.sub(b"", passed) == plain.sub(b"", sent)
    assert not traced.connection.from_visitor(b"") + traced.connection.rest()
