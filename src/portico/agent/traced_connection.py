"""Reads one http connection for its requests, which become spans, and tells the upstream of them in `traceparent`.

What is not understood passes as it is, without spans. Only heads are held until they are whole, and the edge sends
each in one piece.
"""

import re
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import httptools

from portico.agent.dial_reason import DialError
from portico.agent.request_spans import RequestHead, RequestSpans

HEAD_LIMIT: Final = 128 * 1024
"""Octets of a head that is waited for."""
_END: Final = b"\r\n\r\n"
_TRACEPARENT: Final = re.compile(rb"\r\ntraceparent[ \t]*:[^\r\n]*", re.IGNORECASE)
_READ: Final = ("host", "traceparent", "tracestate")
# Plain ints for the hot path: a member of an IntEnum costs a look-up at each use.
_OK: Final = int(HTTPStatus.OK)
_SWITCHING_PROTOCOLS: Final = int(HTTPStatus.SWITCHING_PROTOCOLS)

Begin = Callable[[RequestHead], RequestSpans]
Parser = Any
"""httptools' HttpRequestParser or HttpResponseParser; it brings no types."""


class TracedConnection:
    """One connection between the edge and an upstream."""

    def __init__(self, begin: Begin, visitor: str, scheme: str) -> None:
        self._begin = begin
        self._visitor = visitor
        self._scheme = scheme
        self._held = b""
        self._open: deque[tuple[str, RequestSpans]] = deque()
        """Method and spans of requests whose answer is not over, oldest first."""
        self._requests: _Requests | None = _Requests()
        self._answers: _Answers | None = _Answers(self)

    def from_visitor(self, data: bytes) -> bytes:
        """What goes on to the upstream, instead of `data`."""
        requests = self._requests
        if requests is None:
            return self.rest() + data if self._held else data
        if not requests.between:
            self._read(requests, data)
            if requests.heads:  # one that began in the middle of these bytes, which no edge does
                self._requests = None
            return data
        data, self._held = self._held + data, b""
        end = data.find(_END)
        if end < 0 and len(data) <= HEAD_LIMIT:
            self._held = data
            return b""
        self._read(requests, data)
        traceparent = self._begin_spans(requests)
        return data if traceparent is None else _named(data[: end + 2], traceparent) + data[end + 2 :]

    def rest(self) -> bytes:
        """What is held of a head that will not be whole: the visitor's bytes are over."""
        rest, self._held = self._held, b""
        return rest

    def from_upstream(self, data: bytes) -> None:
        """Bytes on their way to the visitor."""
        answers = self._answers
        if answers is None:
            return
        try:
            answers.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._answers = None  # the spans end with the connection
        except httptools.HttpParserError:
            self.closed()

    def failed(self, error: DialError) -> None:
        """The upstream cannot be reached, or has gone without an answer."""
        for _, spans in self._open:
            spans.failed(str(error.reason), error.code.status or int(HTTPStatus.BAD_GATEWAY))

    def closed(self) -> None:
        """The connection is over, or not understood: what was unfinished ends now."""
        self._requests = self._answers = None
        while self._open:
            self.answer_ends()

    def answer_begins(self, status: int) -> bool:
        """The head of an answer; returns whether it has no body though it may speak of one."""
        if not self._open:
            return False
        method, spans = self._open[0]
        spans.answered(status)
        return method == "HEAD"

    def answer_ends(self) -> None:
        """The oldest request's."""
        if self._open:
            self._open.popleft()[1].end()

    def bodyless(self) -> None:
        """That answer is over with its head: llhttp cannot know it, and would wait for the body."""
        self._answers = _Answers(self)
        self.answer_ends()

    def _read(self, requests: "_Requests", data: bytes) -> None:
        try:
            requests.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After an upgrade the visitor's bytes are not HTTP; the answer to it still is.
            self._requests = None

    def _begin_spans(self, requests: "_Requests") -> str | None:
        heads, requests.heads = requests.heads, []
        if len(heads) > 1:  # pipelined, which no edge does
            self._requests = None
        if len(heads) != 1:
            return None
        [(method, target, version, fields)] = heads
        head = RequestHead(
            method=method,
            target=target,
            version=version,
            host=fields.pop("host", ""),
            visitor=self._visitor,
            scheme=self._scheme,
            context=fields,
        )
        spans = self._begin(head)
        self._open.append((method, spans))
        return spans.traceparent


def _named(head: bytes, traceparent: str) -> bytes:
    """The head, without its empty line, with that `traceparent` and no other."""
    line, fields = head.split(b"\r\n", 1)
    rest = _TRACEPARENT.sub(b"", b"\r\n" + fields)
    return b"%s\r\ntraceparent: %s%s" % (line, traceparent.encode(), rest)


class _Requests:
    """Callbacks of httptools for what the visitor sends; bodies have none, so that nothing of them is copied."""

    def __init__(self) -> None:
        self.parser: Parser = httptools.HttpRequestParser(self)
        self.between = True
        """Whether the next byte begins a request."""
        self.heads: list[tuple[str, str, str, dict[str, str]]] = []
        self._url = b""
        self._fields: dict[str, str] = {}

    def on_message_begin(self) -> None:
        self.between = False
        self._url, self._fields = b"", {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        if key in _READ:
            self._fields[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        method, version = self.parser.get_method().decode("latin-1"), self.parser.get_http_version()
        self.heads.append((method, self._url.decode("latin-1"), version, self._fields))

    def on_message_complete(self) -> None:
        self.between = True


class _Answers:
    """Callbacks of httptools for what the upstream sends."""

    def __init__(self, connection: TracedConnection) -> None:
        self._connection = connection
        self.parser: Parser = httptools.HttpResponseParser(self)
        self._final = False

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self._final = status >= _OK or status == _SWITCHING_PROTOCOLS
        if self._final and self._connection.answer_begins(status):
            self._final = False
            self._connection.bodyless()

    def on_message_complete(self) -> None:
        if self._final and self.parser.get_status_code() != _SWITCHING_PROTOCOLS:
            self._connection.answer_ends()
