"""A visitor's connection to a bind, carried by one stream of the agent's session."""

import asyncio
import select
import socket
from typing import Final, cast

from portico.model.errors import STREAM_LIMIT, UPSTREAM_UNREACHABLE, ErrorCode, PorticoError
from portico.model.pages import PROBE_ANSWER
from portico.relay import http_answer, limits, send_buffer
from portico.relay.carriage import Carriage, Carrier
from portico.relay.link import BindLease
from portico.relay.probe import Probe
from portico.relay.unanswered import Unanswered
from portico.tunnel import frames
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import SIGNATURE, ProxyInfo, ProxyReader

REASON_SECONDS: Final = 0.01
"""How long a reset stream waits for the agent's reason: a RST overtakes it on the way."""
LINGER_SECONDS: Final = 5.0
"""How long a visitor who got his whole answer may go on sending the request."""
WATCH_SECONDS: Final = 60.0
"""How often a visitor who cannot be read from is looked at for having left."""
ALONE_SECONDS: Final = 30.0
"""How long an upstream may take to end the connection of a visitor who has left."""
PARTING_SECONDS: Final = 0.5
"""How long a connection stays open whose upstream has closed: what asks meanwhile goes to a new stream.

Envoy often sends the next request right after an answer, and could do so before it sees our close.
"""
NO_ANSWER: Final = UPSTREAM_UNREACHABLE, "The agent closed the connection without an answer."
_NOBODY: Final = ProxyInfo()


class Visitor(asyncio.Protocol):
    """One connection to a bind's socket; `Passage` is the side of its stream."""

    __slots__ = (
        "_address", "_attempts", "_discarding", "_finished", "_lease", "_passage", "_peers", "_probe", "_reader",
        "_timer", "_unanswered", "carrier", "transport", "waiting",
    )  # fmt: skip

    def __init__(self, lease: BindLease, carrier: Carrier, peers: set["Visitor"]) -> None:
        self._lease = lease
        self.carrier = carrier
        self._peers = peers
        self._passage: Passage | None = None
        self._address = _NOBODY
        self._reader = ProxyReader() if lease.visitor_address else None
        """Reads who the visitor is, as long as that is not known."""
        self._probe: Probe | None = None
        self._unanswered = Unanswered()
        self._attempts = 0
        self.waiting = not lease.http
        """Whether an answer is awaited, or may be: no HTTP/1.1 connection at rest."""
        self._finished = False
        """Whether the visitor sends no more."""
        self._discarding = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def at_rest_between_answers(self) -> bool:
        """Whether the connection carries one HTTP exchange after the other."""
        return self._lease.http == 1

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the stream at once where the upstream may be the first to speak."""
        self.transport = cast("asyncio.Transport", transport)
        self._peers.add(self)
        if self._reader is None and not self._lease.http:
            self._begin(b"")

    def data_received(self, data: bytes) -> None:
        """Pass the visitor's bytes on."""
        waiting, self.waiting = self.waiting, True
        passage = self._passage
        if passage is None:
            self._begin(data)
            return
        self.carrier.figures.bytes_in_total += len(data)
        if waiting or self._unanswered.rest:
            self._unanswered.add(data)
        else:
            passage.answered, passage.reused = False, True
            self._unanswered.begin(data, http1=True)
        passage.stream.write(data)

    def eof_received(self) -> bool:
        """The visitor has finished sending, or left."""
        self._finished = True
        if self._discarding or self._passage is None or self._lease.http:
            # Nobody half-closes an HTTP connection to us: Envoy's end of file means that it has left.
            return False
        self._passage.stream.write_eof()
        if has_left(self.transport):
            return False
        self._watch()
        return True

    def pause_writing(self) -> None:
        """The visitor reads too slowly: give its stream no more credit."""
        if self._passage is not None:
            self._passage.stream.pause_reading()

    def resume_writing(self) -> None:
        """The visitor reads again."""
        if self._passage is not None:
            self._passage.stream.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The visitor is gone; so must be the agent's connection to its upstream."""
        self._peers.discard(self)
        self._stop_timer()
        self._drop_probe()
        passage, self._passage = self._passage, None
        self._discarding = True
        if passage is None:
            return
        if error is None and not self._lease.http:
            passage.finish_alone()
        else:
            passage.drop()

    # Called by the bind and the stream.

    def cut(self) -> None:
        """End the connection and its stream now."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.drop()
        self.transport.abort()

    def hold(self) -> None:
        """The upstream reads too slowly: read no more of the visitor."""
        if not self.transport.is_closing():
            self.transport.pause_reading()
            self._watch()

    def go_on(self) -> None:
        """The upstream reads again."""
        if not self._finished:
            self._stop_timer()
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def accepted(self) -> None:
        """The upstream has begun to answer."""
        self._unanswered.answered()

    def upstream_finished(self, passage: "Passage") -> None:
        """The upstream sends no more; only an HTTP connection is over with that."""
        if self._lease.http:
            self.upstream_ended(passage, None)
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def upstream_ended(self, passage: "Passage", code: int | None) -> None:
        """The stream is over: in order (`code` None) or reset."""
        if passage is not self._passage:
            return
        self._passage = None
        passage.drop()
        self._stop_timer()
        if self.transport.is_closing():
            return
        if passage.reused and not passage.answered and self._may_repeat():
            self._attempts = 0
            self._retry_after(0)
        elif code == frames.ErrorCode.ACCEPT_QUEUE_FULL and not passage.reused and self._may_retry():
            self._retry_after(limits.STREAM_RETRY_SECONDS * 2 ** (self._attempts - 1))
        elif code == frames.ErrorCode.REFUSED and not passage.answered:
            self._refuse_for_number(code, unseen=not passage.reused)
        elif not passage.answered and self.carrier.alive:
            self.carrier.figures.streams_failed_total += 1
            self._discarding = True
            self.transport.resume_reading()
            self._timer = asyncio.get_running_loop().call_later(REASON_SECONDS, self._give_up, passage, code)
        elif code is None and passage.framed and self._may_ask_again():
            self._attempts = 0
            self.transport.resume_reading()
            self._timer = asyncio.get_running_loop().call_later(PARTING_SECONDS, self._close, None)
        else:
            self._close(code)

    # Opening the stream.

    def _begin(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._lease.http and data.startswith(SIGNATURE):
            self._reader = self._reader or ProxyReader()  # nothing that Envoy sends of a visitor's begins so
        if self._reader is not None:
            try:
                address = self._reader.feed(data)
            except frames.ProtocolError:
                self.cut()
                return
            if address is None:
                return
            local = self._reader.local
            self._address, data, self._reader = address, self._reader.rest, None
            if local and not data:
                self._probe = Probe(self.carrier, self._lease, self._probed)
                return
            if self._lease.http and not data:
                return
        self._drop_probe()
        self._stop_timer()
        self.carrier.figures.bytes_in_total += len(data)
        self._unanswered.begin(data, http1=self._lease.http == 1)
        self._offer()

    def _probed(self, reached: bool) -> None:
        """A check by connection, as long as it has sent nothing, gets the one word that it waits for."""
        self._probe = None
        if reached:
            self.transport.write(PROBE_ANSWER)
        self.transport.close()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.drop()
            self._probe = None

    def _offer(self) -> None:
        """Open a stream with all that was kept."""
        passage = Passage(self)
        self._attempts += 1
        try:
            passage.stream = self.carrier.open_proxy(self._lease, self._address, self._unanswered.kept, passage)
        except PorticoError as error:
            if error.code is STREAM_LIMIT:
                self._refuse_for_number(None)
            else:
                self.transport.close()
            return
        self._passage = passage
        if self._finished:
            passage.stream.write_eof()

    def _may_retry(self) -> bool:
        return self._unanswered.is_whole and self._attempts < limits.STREAM_ATTEMPTS

    def _may_repeat(self) -> bool:
        """Whether a request may go to a second stream, because its upstream had closed the first meanwhile.

        RFC 9112, 9.3.1 and 9.5: whoever keeps connections open has to expect that.
        """
        return self._is_between_answers() and self._unanswered.repeatable

    def _may_ask_again(self) -> bool:
        """Whether what comes next is a request, of which the upstream that has closed saw nothing."""
        return not self.waiting and self._is_between_answers() and self._unanswered.rest == 0

    def _is_between_answers(self) -> bool:
        """Whether the visitor has taken all that was answered, and another stream may answer what comes next."""
        return self.carrier.alive and self.transport.get_write_buffer_size() == 0

    def _retry_after(self, seconds: float) -> None:
        self.transport.pause_reading()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self.carrier.figures.streams_retried_total += 1
        self.transport.resume_reading()
        self._offer()

    # Ending.

    def _refuse_for_number(self, code: int | None, *, unseen: bool = True) -> None:
        self.carrier.figures.streams_refused_total += 1
        self._refuse(STREAM_LIMIT, "The agent carries as many connections as it can.", code, unseen=unseen)

    def _give_up(self, passage: "Passage", code: int | None) -> None:
        error, reason = self.carrier.failure(self._lease.bind) or NO_ANSWER
        unseen = self.carrier.unseen(passage.stream) and not passage.reused
        self._refuse(error, reason, code, unseen=unseen)

    def _refuse(self, error: ErrorCode, detail: str, code: int | None, *, unseen: bool) -> None:
        """Show our own page where Envoy speaks HTTP/1.1 to us; elsewhere a closed connection has to say it."""
        if self._lease.http == 1 and self._unanswered.head:
            head, mark = self._unanswered.head, self.carrier.mark
            self.transport.write(http_answer.error_page(error, detail, head, mark, unseen=unseen))
        self._close(code)

    def _close(self, code: int | None) -> None:
        """Close after what is written, also where a reset `code` says that bytes are missing behind it."""
        if self._lease.http == 1:
            # Envoy takes an answer that comes before its request is sent, but forgets it when a write fails: so the
            # rest of the request is read and dropped.
            self._discarding = True
            self.transport.write_eof()
            self.transport.resume_reading()
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._leave)

    def _leave(self) -> None:
        """Close, unless a visitor who pauses has yet to take some of the answer."""
        if self.transport.get_write_buffer_size():
            self._linger()
        else:
            self.transport.abort()

    def _watch(self) -> None:
        """Look from time to time whether the visitor has left, when reading cannot tell."""
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        if has_left(self.transport):
            self.transport.abort()
        else:
            self._watch()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the visitor's side is closed in both directions, which reading does not tell from half-closed."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return bool(poll.poll(0))


class Passage(StreamHandler):
    """One attempt to carry a visitor: the upstream's bytes go to the visitor's socket as they come."""

    __slots__ = (
        "_alone", "_always_waiting", "_figures", "_visitor", "_widened", "answered", "framed", "reused", "stream",
    )  # fmt: skip

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._figures = visitor.carrier.figures
        self._alone: asyncio.TimerHandle | None = None
        self._always_waiting = not visitor.at_rest_between_answers
        self._widened = False
        self.answered = False
        """Whether there was a byte of an answer to the present request, or on other protocols any byte."""
        self.framed = False
        """Whether the last answer says where it ends, so that the visitor needs no close for it."""
        self.reused = False
        """Whether an earlier request was answered here."""
        self.stream: Carriage

    def data_received(self, data: bytes) -> None:
        """Bytes of the upstream."""
        if not self.answered:
            self.answered = True
            self.framed = http_answer.is_framed(data)
            self._visitor.accepted()
        self._figures.bytes_out_total += len(data)
        if self._alone is None:
            self._visitor.waiting = self._always_waiting
            if len(data) >= send_buffer.BULK and not self._widened:
                self._widened = True
                send_buffer.widen(self._visitor.transport)
            self._visitor.transport.write(data)
        else:
            self.drop()

    def eof_received(self) -> None:
        """The upstream sends no more."""
        if self._alone is None:
            self._visitor.upstream_finished(self)

    def connection_lost(self, code: int | None) -> None:
        """The stream is gone: finished in both directions, or reset."""
        self._figures.streams -= 1
        if self._alone is None:
            self._visitor.upstream_ended(self, code)
        else:
            self._alone.cancel()

    def pause_writing(self) -> None:
        """The agent takes no more."""
        if self._alone is None:
            self._visitor.hold()

    def resume_writing(self) -> None:
        """The agent takes more."""
        if self._alone is None:
            self._visitor.go_on()

    def finish_alone(self) -> None:
        """The visitor has closed in order: what it sent shall arrive, as over TCP, and an answer to nobody is reset."""
        self.stream.resume_reading()
        self.stream.write_eof()
        self._alone = asyncio.get_running_loop().call_later(ALONE_SECONDS, self.drop)

    def drop(self) -> None:
        """Let go of the stream, with FIN and RST: RST alone wakes no idle stream of ngrok's Rust SDKs."""
        self.stream.abandon()
