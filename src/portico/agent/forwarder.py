"""Carries visitors of one endpoint to its upstream."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from portico.agent.dial import Dialer
from portico.agent.dial_reason import DialError, explain
from portico.agent.metrics import ConnectionMeter
from portico.agent.tls_end import TlsEnd, refusal
from portico.model.errors import PorticoError
from portico.tunnel.frames import ErrorCode, ProtocolError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind, UpstreamFailed
from portico.tunnel.proxy_protocol import ProxyReader
from portico.tunnel.rpc import tell
from portico.tunnel.splice import Splice, StreamSide
from portico.tunnel.transport import Stream

if TYPE_CHECKING:
    from portico.agent.http_observer import HttpObserver
    from portico.agent.traced_connection import TracedConnection

log = logging.getLogger(__name__)

GREETING_SECONDS: Final = 10.0
"""How long a visitor may take for the TLS handshake, and the edge for its PROXY header."""
LINGER_SECONDS: Final = 5.0
"""How long a stream whose upstream failed may still be read by the edge."""

Observe = Callable[[ProxyHeader], "HttpObserver"]
Trace = Callable[[ProxyHeader], "TracedConnection"]


class Forwarder:
    """One endpoint's way to its upstream; `dialer` may be exchanged while visitors come."""

    def __init__(
        self,
        dialer: Dialer,
        meters: tuple[ConnectionMeter, ...],
        *,
        http: bool = False,
        proxy_protocol: int = 0,
        tls: ssl.SSLContext | None = None,
        observe: Observe | None = None,
    ) -> None:
        """`http`: whether the edge can show a page where the upstream fails; `tls` ends visitors' TLS here."""
        self.dialer = dialer
        self.meters = meters
        self.http = http
        self.proxy_protocol = proxy_protocol
        self.tls = tls
        self.observe = observe
        self.trace: Trace | None = None
        self.failure: str | None = None
        """Why the upstream failed at the last attempt; None once it did not."""
        self._visits: set[Visit] = set()

    def serve(self, stream: Stream, header: ProxyHeader, first: bytes) -> None:
        """Take a visitor's stream."""
        watched = self.observe is not None or self.trace is not None
        visit = (WatchedVisit if watched else Visit)(stream, header, self)
        self._visits.add(visit)
        visit.begin(first)

    def failed(self, error: DialError) -> None:
        """Keep why the upstream failed, and log it where it is news."""
        if self.failure != error.text:
            log.warning("upstream unreachable", extra={"upstream": error.text, "reason": str(error.reason)})
        self.failure = error.text

    def left(self, visit: "Visit") -> None:
        """A visitor is gone."""
        self._visits.discard(visit)

    def cut(self) -> None:
        """End all visits."""
        for visit in list(self._visits):
            visit.stream.reset(ErrorCode.CANCELLED)


class Visit(Splice):
    """One visitor: PROXY header, TLS if it ends here, then the upstream's connection."""

    def __init__(self, stream: Stream, header: ProxyHeader, forwarder: Forwarder) -> None:
        super().__init__(stream, lambda _: self._leave())
        stream.handler = _VisitorSide(self)
        self.header = header
        self.forwarder = forwarder
        self._opened_at = [meter.opened() for meter in forwarder.meters]
        self._left = False
        self._preface = b""
        self._proxy = ProxyReader() if forwarder.proxy_protocol else None
        self._tls = TlsEnd(forwarder.tls) if forwarder.tls is not None else None
        self._dialing: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    def begin(self, first: bytes) -> None:
        """Start with the bytes that came behind the header."""
        if self._proxy is None and self._tls is None:
            self._dial()
        else:
            self.stream.resume_reading()
            self._patience = asyncio.get_running_loop().call_later(GREETING_SECONDS, self._cut)
        if first:
            self.from_visitor(first)

    # From the visitor.

    def from_visitor(self, data: bytes) -> None:
        """From the stream to the upstream: past the PROXY header, out of the TLS."""
        if self._proxy is not None:
            data = self._read_proxy_header(data)
        if self._tls is not None and data:
            data = self._decrypt(data)
        if data:
            self.to_upstream(data)
        if self._tls is not None and self._tls.finished and not self._stream_finished:
            self.stream_eof()

    def to_upstream(self, data: bytes) -> None:
        """The visitor's bytes in clear."""
        self.stream_data(data)

    def stream_lost(self, code: int | None) -> None:
        """The visitor is gone: a connection in the making is not needed any more."""
        super().stream_lost(code)
        if self._transport is None:
            if self._dialing is not None:
                self._dialing.cancel()
            self._leave()

    # From the upstream.

    def data_received(self, data: bytes) -> None:
        """From the upstream to the stream: into the TLS."""
        if self.forwarder.failure is not None:
            self.forwarder.failure = None
        if self._tls is None:
            super().data_received(data)
            return
        self.to_stream += len(data)
        self._tls.send(data)
        self.stream.write(self._tls.to_visitor())

    def eof_received(self) -> bool:
        """The upstream sends no more."""
        if self._tls is not None:
            self._tls.finish()
            self.stream.write(self._tls.to_visitor())
        return super().eof_received()

    def socket_lost(self, exc: Exception | None) -> None:
        """The upstream is gone.

        In TLS 1.3 an upstream refuses our certificate only after the handshake, when we think that we are connected.
        """
        if isinstance(exc, OSError) and not self.to_stream and not self._stream_over:
            reason, words = explain(exc)
            self._fail(DialError(reason, f"{self.forwarder.dialer.upstream}: {words}"))
        else:
            super().socket_lost(exc)

    # The steps before the upstream's connection.

    def _read_proxy_header(self, data: bytes) -> bytes:
        assert self._proxy is not None
        self._preface += data
        try:
            info = self._proxy.feed(data)
        except ProtocolError as error:
            log.warning("bad PROXY header from the edge", extra={"reason": error.message})
            self._cut()
            return b""
        if info is None:
            return b""
        rest, self._proxy = self._proxy.rest, None
        # The upstream gets the header as the edge wrote it, extensions included.
        self._preface = self._preface[: len(self._preface) - len(rest)]
        if self._tls is None:
            self._dial()
        return rest

    def _decrypt(self, data: bytes) -> bytes:
        tls = self._tls
        assert tls is not None
        was_established = tls.established
        try:
            clear = tls.receive(data)
        except ssl.SSLError as error:
            log.info(
                "a visitor's TLS was refused", extra={"visitor": self.header.client_addr, "reason": refusal(error)}
            )
            self.stream.write(tls.to_visitor())  # the alert
            self.stream.write_eof()
            self._discard()
            return b""
        if answer := tls.to_visitor():
            self.stream.write(answer)
        if tls.established and not was_established:
            self._dial()
        return clear

    def _dial(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self.stream.pause_reading()  # until the upstream is there; Splice goes on
        self._dialing = asyncio.get_running_loop().create_task(self._connect(), name="portico dial")

    async def _connect(self) -> None:
        try:
            await self.forwarder.dialer.connect(lambda: self, self._preface)
        except DialError as error:
            self._fail(error, unseen=True)
            return
        if not self.forwarder.dialer.upstream.uses_tls:  # a TLS upstream may refuse us yet
            self.forwarder.failure = None

    def _fail(self, error: DialError, *, unseen: bool = False) -> None:
        """Tell the edge why, then end the stream; the order holds, for both are DATA frames.

        `unseen`: the upstream has got nothing, so the edge may take the request elsewhere, whatever it asks for.
        """
        self.forwarder.failed(error)
        if self.forwarder.http:
            stream = self.stream.id if unseen else 0
            failed = UpstreamFailed(id=self.header.id, code=error.code.number, reason=error.text, stream=stream)
            with suppress(PorticoError):
                tell(self.stream.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
        self.stream.write_eof()
        self._discard()

    def _discard(self) -> None:
        """Nothing more is to be said: read what still comes, then drop the stream."""
        self.stream.handler = StreamHandler()
        self.stream.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.stream.abandon)
        self._leave()

    def _cut(self) -> None:
        self.stream.reset(ErrorCode.CANCELLED)

    def _leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._patience is not None:
            self._patience.cancel()
        for meter, opened_at in zip(self.forwarder.meters, self._opened_at, strict=True):
            meter.closed(opened_at, self.to_socket, self.to_stream)
        self.forwarder.left(self)


class _VisitorSide(StreamSide):
    """The stream's handler: its bytes take the steps of a visit before they are the splice's."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._visit = visit

    def data_received(self, data: bytes) -> None:
        """See Visit.from_visitor."""
        self._visit.from_visitor(data)


class WatchedVisit(Visit):
    """A visit that the inspector sees, or that is traced, or both."""

    def __init__(self, stream: Stream, header: ProxyHeader, forwarder: Forwarder) -> None:
        super().__init__(stream, header, forwarder)
        self._observer = forwarder.observe(header) if forwarder.observe is not None else None
        self._traced = forwarder.trace(header) if forwarder.trace is not None else None

    def to_upstream(self, data: bytes) -> None:
        """From the visitor."""
        if self._observer is not None:
            self._observer.from_visitor(data)
        if self._traced is not None:
            data = self._traced.from_visitor(data)
        if data:
            super().to_upstream(data)

    def stream_eof(self) -> None:
        """The visitor has finished."""
        if self._traced is not None and (rest := self._traced.rest()):
            super().to_upstream(rest)
        super().stream_eof()

    def data_received(self, data: bytes) -> None:
        """From the upstream."""
        if self._observer is not None:
            self._observer.from_upstream(data)
        if self._traced is not None:
            self._traced.from_upstream(data)
        super().data_received(data)

    def _fail(self, error: DialError, *, unseen: bool = False) -> None:
        if self._observer is not None:
            self._observer.refused(error.code.status or 0)
        if self._traced is not None:
            self._traced.failed(error)
        super()._fail(error, unseen=unseen)

    def _leave(self) -> None:
        if not self._left:
            if self._observer is not None:
                self._observer.closed()
            if self._traced is not None:
                self._traced.closed()
        super()._leave()
