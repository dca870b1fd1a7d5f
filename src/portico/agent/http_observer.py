"""Reads copies of the bytes of one http connection and tells the inspector what requests it sees. Passive: on anything
that it does not understand it stops looking, and the bytes pass as they are."""

from collections.abc import Callable
from http import HTTPStatus
from time import monotonic, time
from typing import Any, Final

import httptools

from portico.agent.inspector import BODY_LIMIT, CapturedMessage, CapturedRequest, Inspector
from portico.agent.metrics import ConnectionMeter

_HEAD_LIMIT: Final = 128 * 1024
"""Octets of a message head; a longer one ends the watching."""


# Plain ints for the hot path: a member of an IntEnum costs a look-up at each use.
_OK: Final = int(HTTPStatus.OK)
_SWITCHING_PROTOCOLS: Final = int(HTTPStatus.SWITCHING_PROTOCOLS)


Parser = Any
"""httptools' HttpRequestParser or HttpResponseParser; it brings no types."""


class _NotUnderstoodError(Exception):
    pass


class _Side:
    """Callbacks that httptools calls while it reads one direction."""

    def __init__(self, observer: "HttpObserver") -> None:
        self._observer = observer
        self._fields: list[bytes] = []
        self.head_size = 0
        self.url = b""
        self.reason = b""
        self.message = CapturedMessage()
        self.captured: CapturedRequest | None = None
        """The request that the message belongs to."""

    def on_message_begin(self) -> None:
        self._fields = []
        self.head_size = 0
        self.url = self.reason = b""
        self.message = CapturedMessage()
        self.captured = None

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self._count(len(reason))
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        self._fields += (name, value)

    def on_body(self, body: bytes) -> None:
        message, captured = self.message, self.captured
        message.size += len(body)
        room = BODY_LIMIT - len(message.body)
        if captured is not None and room > 0:
            piece = body[:room]
            if self._observer.inspector.charge(captured, len(piece)):
                message.body += piece

    def fields(self) -> bytes:
        """All headers, as a captured message keeps them."""
        return b"\n".join(self._fields)

    def _count(self, octets: int) -> None:
        self.head_size += octets
        if self.head_size > _HEAD_LIMIT:
            raise _NotUnderstoodError


class _RequestSide(_Side):
    def on_headers_complete(self) -> None:
        self._observer.request_head(self)


class _ResponseSide(_Side):
    def on_headers_complete(self) -> None:
        self._observer.response_head(self)

    def on_message_complete(self) -> None:
        self._observer.response_complete()


class _Direction:
    """One direction's parser, and how much of a long body may go by without it.

    httptools copies each piece of a body for its callback, which is a waste once no more of it is kept.
    """

    def __init__(self, make: Callable[[], tuple[Parser, _Side]], over: Callable[[], None]) -> None:
        """`over` is called at the end of a body that went by."""
        self._make = make
        self._over = over
        self._left = 0
        self.parser, self.side = make()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes of this direction. Raises what httptools raises."""
        if self._left:
            taken = min(self._left, len(data))
            self._left -= taken
            self.side.message.size += taken
            if self._left:
                return
            self.restart()
            self._over()
            data = memoryview(data)[taken:]
        if data:
            self.parser.feed_data(data)
            self._left = _left_of(self.side.message)

    def restart(self) -> None:
        """The next byte begins a message."""
        self.parser, self.side = self._make()


def _left_of(message: CapturedMessage) -> int:
    """Octets of a long body that are to come, if its head tells; 0 where only the parser will see the end."""
    if message.size < BODY_LIMIT:
        return 0
    fields = {name.lower(): value for name, value in message.headers}
    length = fields.get("content-length", "")
    return int(length) - message.size if length.isdecimal() and "transfer-encoding" not in fields else 0


class HttpObserver:
    """Watches one connection between a visitor and an upstream."""

    def __init__(
        self,
        inspector: Inspector,
        endpoint: str,
        remote_address: str,
        meter: ConnectionMeter | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.inspector = inspector
        self._endpoint = endpoint
        self._remote_address = remote_address
        self._meter = meter or ConnectionMeter()
        self._clock = clock
        self._waiting: list[CapturedRequest] = []
        """Requests whose response has not ended, oldest first."""
        self._requests: _Direction | None = _Direction(self._new_request, lambda: None)
        self._responses: _Direction | None = _Direction(self._new_response, self.response_complete)
        self._bodyless = False

    @property
    def is_idle(self) -> bool:
        """Whether every request seen has its whole answer."""
        return not self._waiting

    def from_visitor(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes on their way to the upstream."""
        if self._requests is None:
            return
        try:
            self._requests.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _NotUnderstoodError):
            # After an upgrade the visitor's bytes are not HTTP; the answer to it still is.
            self._requests = None

    def from_upstream(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes on their way to the visitor."""
        if self._responses is None:
            return
        try:
            self._responses.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _NotUnderstoodError):
            self._responses = None
            self.response_complete()
        if self._bodyless:
            # llhttp cannot know that this answers HEAD, so it waits for a body that never comes.
            self._bodyless = False
            if self._responses is not None:
                self._responses.restart()
            self.response_complete()

    def refused(self, status: int) -> None:
        """The upstream failed, and the edge answers with a page of this status in its place."""
        for captured in self._waiting:
            if captured.response is None:
                captured.status = status
                captured.response = CapturedMessage(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}")

    def closed(self) -> None:
        """The connection is over: what was unfinished ends now."""
        self._requests = self._responses = None
        while self._waiting:
            self.response_complete()

    def request_head(self, side: _RequestSide) -> None:
        """A request's head is complete."""
        assert self._requests is not None
        self._meter.opened()
        method, uri = self._requests.parser.get_method().decode("latin-1"), side.url.decode("latin-1")
        message, inspector = side.message, self.inspector
        message.protocol = f"HTTP/{self._requests.parser.get_http_version()}"
        message.start_line = f"{method} {uri} {message.protocol}"
        message.fields = side.fields()
        side.captured = captured = CapturedRequest(
            inspector.number(), self._endpoint, self._remote_address, time(), self._clock(), method, uri, message
        )
        inspector.begin(captured, side.head_size)
        self._waiting.append(captured)
        inspector.announce(captured)

    def response_head(self, side: _ResponseSide) -> None:
        """A response's head is complete."""
        assert self._responses is not None
        status = self._responses.parser.get_status_code()
        if not self._waiting or (status < _OK and status != _SWITCHING_PROTOCOLS):
            return
        side.captured = captured = self._waiting[0]
        captured.status = status
        captured.response = message = side.message
        message.protocol = f"HTTP/{self._responses.parser.get_http_version()}"
        message.start_line = f"{message.protocol} {status} {side.reason.decode('latin-1')}".rstrip()
        message.fields = side.fields()
        self.inspector.charge(captured, side.head_size)
        self._bodyless = captured.method == "HEAD"

    def response_complete(self) -> None:
        """The oldest request has its whole answer (or will get none)."""
        if not self._waiting or (self._waiting[0].response is None and self._responses is not None):
            return
        captured = self._waiting.pop(0)
        captured.duration = self._clock() - captured.started_at
        self._meter.closed(captured.started_at)
        self.inspector.announce(captured)

    def _new_request(self) -> tuple[Parser, _Side]:
        side = _RequestSide(self)
        return httptools.HttpRequestParser(side), side

    def _new_response(self) -> tuple[Parser, _Side]:
        side = _ResponseSide(self)
        return httptools.HttpResponseParser(side), side
