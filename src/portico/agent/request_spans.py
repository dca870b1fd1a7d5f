"""The two spans of a request at an agent: what the edge asked of it, and what it asked of the upstream.

Names and attributes are OpenTelemetry's for HTTP (https://opentelemetry.io/docs/specs/semconv/http/http-spans/). No
query, no header but Host, and no body is ever in one, for those may hold secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from portico.agent.upstream import Upstream, UpstreamScheme

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}  # RFC 9110, RFC 5789
)
_W3C: Final = TraceContextTextMapPropagator()
CLOSED: Final = "closed"
"""`error.type` of a request whose connection ended before its answer began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """What spans tell of a request."""

    method: str
    target: str
    """As in the request line; its query is left out of the spans."""
    version: str
    host: str
    visitor: str
    """Address of the visitor, `ip:port`."""
    scheme: str
    """What the visitor speaks: http or https."""
    context: Mapping[str, str]
    """`traceparent` and `tracestate`, where the request has them."""

    @property
    def path(self) -> str:
        """Of the target, without its query."""
        if self.target.startswith("/"):
            return self.target.partition("?")[0].partition("#")[0]
        try:
            return urlsplit(self.target).path
        except ValueError:
            return ""


class RequestSpans:
    """Begun with a request's head; `end` them once."""

    def __init__(self, tracer: Tracer, head: RequestHead, upstream: Upstream) -> None:
        known = head.method if head.method in _METHODS else "_OTHER"
        name = known if known == head.method else "HTTP"
        common: dict[str, str | int] = {"http.request.method": known, "network.protocol.version": head.version}
        if known != head.method:
            common["http.request.method_original"] = head.method
        parent = _W3C.extract(head.context, context=Context())
        self._server = tracer.start_span(
            name, parent, SpanKind.SERVER, {**common, **_of_request(head)}, set_status_on_exception=False
        )
        below = set_span_in_context(self._server, parent)
        self._client = tracer.start_span(
            name, below, SpanKind.CLIENT, {**common, **_of_upstream(upstream, head)}, set_status_on_exception=False
        )
        self._below = set_span_in_context(self._client, parent)
        self._status: int | None = None

    @property
    def traceparent(self) -> str:
        """For the upstream: its spans are below the second of these."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._below)
        return carrier["traceparent"]

    def answered(self, status: int) -> None:
        """The head of the upstream's answer is there."""
        self._status = status
        for span, failed in ((self._server, status >= 500), (self._client, status >= 400)):
            span.set_attribute("http.response.status_code", status)
            if failed:
                _fail(span, str(status))

    def failed(self, reason: str, status: int) -> None:
        """The upstream cannot answer; `status` is what the edge tells the visitor."""
        self._status = status
        self._server.set_attribute("http.response.status_code", status)
        for span in (self._server, self._client):
            _fail(span, reason)

    def end(self) -> None:
        """The answer is over, or will not come."""
        if self._status is None:
            for span in (self._server, self._client):
                _fail(span, CLOSED)
        self._client.end()
        self._server.end()


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _of_request(head: RequestHead) -> dict[str, str | int]:
    found: dict[str, str | int] = {"url.path": head.path, "url.scheme": head.scheme}
    try:
        asked, visitor = urlsplit(f"//{head.host}"), urlsplit(f"//{head.visitor}")
        found |= {"server.address": asked.hostname} if asked.hostname else {}
        found |= {"server.port": asked.port} if asked.port else {}
        found |= {"client.address": visitor.hostname} if visitor.hostname else {}
    except ValueError:  # a Host that is none
        pass
    return found


def _of_upstream(upstream: Upstream, head: RequestHead) -> dict[str, str | int]:
    if upstream.host:
        where = f"{upstream}{head.path}"
        return {"server.address": upstream.host, "server.port": upstream.port, "url.full": where}
    found: dict[str, str | int] = {"server.address": upstream.path, "url.path": head.path}
    return found | ({"network.transport": "unix"} if upstream.scheme is UpstreamScheme.UNIX else {})
