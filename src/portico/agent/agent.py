"""An agent: a session, the endpoints it serves, and what passes through them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portico.agent.bind import BindKind, BindRequest
from portico.agent.dial import Dialer
from portico.agent.edge_address import Trust
from portico.agent.forwarder import Forwarder
from portico.agent.inspector import CapturedRequest, Inspector
from portico.agent.metrics import ConnectionFigures, ConnectionMeter
from portico.agent.session import AgentSession, Bind, Command, SessionStatus
from portico.agent.settings import AgentTls, SessionSettings
from portico.agent.termination import uncovered
from portico.agent.tls_end import server_context
from portico.agent.tracing import open_traces
from portico.agent.upstream import Upstream, UpstreamScheme
from portico.agent.upstream_tls import UNVERIFIED, UpstreamTls
from portico.model.errors import NOT_SERVED, PorticoError
from portico.tunnel.messages import ProxyHeader

if TYPE_CHECKING:
    from portico.agent.file_server import FileServer
    from portico.agent.http_observer import HttpObserver
    from portico.agent.traced_connection import TracedConnection
    from portico.agent.tracing import Traces

log = logging.getLogger(__name__)


class AgentEndpoint:
    """An endpoint that an agent serves."""

    def __init__(
        self,
        agent: "Agent",
        bind: Bind,
        forwarder: Forwarder,
        meters: tuple[ConnectionMeter, ConnectionMeter],
        name: str,
    ) -> None:
        self.name = name
        self.upstream = forwarder.dialer.upstream
        self.inspected = forwarder.observe is not None
        self._agent = agent
        self._bind = bind
        self._forwarder = forwarder
        self._meter, self._http_meter = meters
        self.warnings = self._warnings()
        """What its owner should know though it works."""

    def _warnings(self) -> tuple[str, ...]:
        found = []
        dialer, request = self._forwarder.dialer, self.request
        if dialer.upstream.uses_tls and not dialer.tls.verifies:
            found.append(f"{dialer.upstream}: the upstream's certificate is not verified")
        if request.key_pair is not None:
            host = urlsplit(self.url).hostname or ""
            found += [words] if (words := uncovered(request.key_pair, host)) else []
        for text in found:
            log.warning(text, extra={"url": self.url})
        return tuple(found)

    @property
    def id(self) -> str:
        """The id that the edge knows it by."""
        return self._bind.id

    @property
    def url(self) -> str:
        """The public URL; empty for labelled endpoints."""
        return self._bind.url

    @property
    def proto(self) -> str:
        """http, https, tls or tcp; empty for labelled endpoints."""
        return self._bind.proto

    @property
    def request(self) -> BindRequest:
        """What was asked for."""
        return self._bind.request

    @property
    def online(self) -> bool:
        """Whether the edge routes visitors here now."""
        return self._bind.online

    @property
    def closed(self) -> bool:
        """Whether it is offline for good."""
        return self._bind.closed.done()

    @property
    def problem(self) -> str:
        """Why it is offline, or why its upstream could not be reached at the last attempt; empty if all is well."""
        return str(self._bind.problem) if self._bind.problem else self._forwarder.failure or ""

    @property
    def figures(self) -> ConnectionFigures:
        """Its connections."""
        return self._meter.figures()

    @property
    def http_figures(self) -> ConnectionFigures:
        """Its HTTP requests, where they are inspected."""
        return self._http_meter.figures()

    def forward_to(self, upstream: Upstream) -> None:
        """Send new visitors to `upstream` from now on; the demands on its certificate stay. Raises PorticoError."""
        self._forwarder.dialer = self._agent.dialer(upstream, self._forwarder.dialer.tls, self.request)
        self.upstream = upstream
        self.warnings = self._warnings()

    async def replay(self, captured: CapturedRequest) -> None:
        """Send a captured request to the upstream again. Raises DialError, and PorticoError for one kept in part."""
        from portico.agent.replay import replay

        inspector = self._agent.inspector
        if inspector is None or captured.request.truncated:
            raise PorticoError(NOT_SERVED, "the request was too long to be kept whole, so it cannot be replayed")
        await replay(captured, self._forwarder.dialer, inspector, self.request.proxy_protocol)

    async def close(self) -> None:
        """Take it offline; visits in progress are cut."""
        await self._agent.release(self, self._bind)
        self._forwarder.cut()

    async def wait_closed(self) -> None:
        """Return when it is offline for good. Raises PorticoError where the edge ended it."""
        await asyncio.shield(self._bind.closed)
        if self._bind.problem is not None:
            raise self._bind.problem


class Agent:
    """See the module. Use it on one event loop: `await start()`, `await open(…)`, `await close()`."""

    def __init__(
        self,
        settings: SessionSettings,
        *,
        inspector: Inspector | None = None,
        on_status: Callable[[SessionStatus], None] = lambda _: None,
        commands: Mapping[str, Command] | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Raises PorticoError: CERTIFICATE_INVALID where the edge's CAs cannot be read, those of `open_traces`."""
        self.inspector = inspector
        """Where requests of inspected endpoints are kept; None inspects nothing."""
        self.session = AgentSession(settings, on_status, commands, trust)
        self.endpoints: list[AgentEndpoint] = []
        self._meter = ConnectionMeter()
        self._file_servers: list[FileServer] = []
        self._traces = open_traces(settings.tracing_endpoint)

    @property
    def status(self) -> SessionStatus:
        """The session at this moment."""
        return self.session.status

    @property
    def figures(self) -> ConnectionFigures:
        """The connections of all endpoints."""
        return self._meter.figures()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.session.closed

    async def start(self, *, persistent: bool = False) -> None:
        """Connect to the edge; `persistent` goes on trying where the network fails. Raises PorticoError."""
        await self.session.connect(persistent=persistent)

    async def open(
        self,
        request: BindRequest,
        upstream: Upstream,
        *,
        name: str = "",
        upstream_tls: UpstreamTls = UNVERIFIED,
        agent_tls: AgentTls | None = None,
        inspect: bool = True,
    ) -> AgentEndpoint:
        """Bring an endpoint online. Raises PorticoError."""
        meter, http_meter = ConnectionMeter(), ConnectionMeter()
        forwarder = Forwarder(
            self.dialer(upstream, upstream_tls, request),
            (meter, self._meter),
            http=request.kind.is_http,
            proxy_protocol=request.proxy_protocol,
            tls=None if agent_tls is None else server_context(agent_tls, alpn_of(request)),
        )
        known_as = name or request.name or f"endpoint-{len(self.endpoints) + 1}"
        speaks_http1 = request.kind.is_http and request.app_protocol != "http2" and not request.carries_bytes
        if inspect and self.inspector is not None and speaks_http1:
            forwarder.observe = self._observer(self.inspector, known_as, http_meter)
        if self._traces is not None and speaks_http1:
            forwarder.trace = _tracing(self._traces, forwarder, request)
        bind = await self.session.bind(request, forwarder.serve)
        endpoint = AgentEndpoint(self, bind, forwarder, (meter, http_meter), known_as)
        self.endpoints.append(endpoint)
        bind.closed.add_done_callback(lambda _: self._forget(endpoint))
        return endpoint

    def dialer(self, upstream: Upstream, tls: UpstreamTls, request: BindRequest) -> Dialer:
        """What connects to `upstream` for `request`. Raises PorticoError."""
        files = None
        if upstream.scheme is UpstreamScheme.FILE:
            from portico.agent.file_server import FileServer

            server = FileServer(upstream.path)
            self._file_servers.append(server)
            files = server.connect
        return Dialer(upstream, tls, protocols=alpn_of(request), files=files)

    async def release(self, endpoint: AgentEndpoint, bind: Bind) -> None:
        """Take an endpoint offline (AgentEndpoint.close calls it)."""
        await self.session.unbind(bind)
        self._forget(endpoint)

    async def close(self) -> None:
        """Take all endpoints offline and end the session."""
        endpoints = list(self.endpoints)
        await self.session.close()
        for endpoint in endpoints:
            await endpoint.close()
        for server in self._file_servers:
            server.close()
        if self._traces is not None:
            await self._traces.close()

    def _forget(self, endpoint: AgentEndpoint) -> None:
        if endpoint in self.endpoints:
            self.endpoints.remove(endpoint)

    @staticmethod
    def _observer(inspector: Inspector, name: str, meter: ConnectionMeter) -> "Callable[[ProxyHeader], HttpObserver]":
        from portico.agent.http_observer import HttpObserver  # brings httptools

        return lambda header: HttpObserver(inspector, name, header.client_addr, meter)


def _tracing(
    traces: "Traces", forwarder: Forwarder, request: BindRequest
) -> "Callable[[ProxyHeader], TracedConnection]":
    from portico.agent.request_spans import RequestHead, RequestSpans  # brings OpenTelemetry
    from portico.agent.traced_connection import TracedConnection

    def begin(head: RequestHead) -> RequestSpans:
        return RequestSpans(traces.tracer, head, forwarder.dialer.upstream)

    return lambda header: TracedConnection(begin, header.client_addr, str(request.kind))


def alpn_of(request: BindRequest) -> tuple[str, ...]:
    """The ALPN name of what the upstream speaks; nothing where that is not known to be HTTP."""
    if request.carries_bytes:
        return ()
    if request.app_protocol == "http2":
        return ("h2",)
    if request.app_protocol or request.kind.is_http or request.kind is BindKind.LABELED:
        return ("http/1.1",)
    return ()
