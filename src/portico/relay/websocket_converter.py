"""Visitors of a bind that wants plain bytes: the messages of a WebSocket are a stream's bytes, and the other way round.

ngrok's converter (https://ngrok.com/docs/http/websocket-tcp-converter/): browsers reach a database, SSH or MQTT. Both
directions go on beside each other, each held back by who reads it. A WebSocket knows no half-closed connection: an
upstream that finishes closes it, and what its visitor still sends until his own Close arrives.
"""

import asyncio
from typing import Final, cast

from portico.model.errors import REQUEST_REFUSED, STREAM_LIMIT, ErrorCode, PorticoError
from portico.model.pages import PROBE_ANSWER
from portico.relay import http_answer, limits
from portico.relay.byte_stream import ByteStream
from portico.relay.carriage import Carrier
from portico.relay.link import BindLease
from portico.relay.probe import Probe
from portico.relay.unanswered import Unanswered
from portico.relay.visitors import LINGER_SECONDS, NO_ANSWER, REASON_SECONDS, WATCH_SECONDS, has_left
from portico.relay.websocket import VERSION_FIELD, RefusedError, WebSocketEnd
from portico.tunnel import frames
from portico.tunnel.proxy_protocol import ProxyInfo, ProxyReader

HEAD_BYTES: Final = 16 << 20
"""Of a request's head: above what settings let Envoy pass on."""
SLICE: Final = 1 << 14
TURN_SECONDS: Final = 0.005
"""How long frames are read on end; a visitor may send thousands of tiny ones at once, and others wait meanwhile."""

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
BROKEN: Final = 1011
"""RFC 6455, 7.4.1. 1014 (bad gateway) would say it better, but Chromium takes that for a fault."""
RESTART: Final = 1012
TRY_LATER: Final = 1013


class WebSocketVisitor(asyncio.Protocol):
    """One connection of Envoy's: a PROXY header, a WebSocket's handshake, frames."""

    __slots__ = (
        "_address", "_attempt", "_attempts", "_carrier", "_discarding", "_full", "_head", "_held", "_input", "_lease",
        "_peers", "_probe", "_reader", "_resting", "_socket", "_timer", "_transport", "_unanswered", "_watching",
    )  # fmt: skip

    def __init__(self, lease: BindLease, carrier: Carrier, peers: "set[WebSocketVisitor]") -> None:
        self._lease = lease
        self._carrier = carrier
        self._peers = peers
        self._transport: asyncio.Transport
        self._reader: ProxyReader | None = ProxyReader()
        self._address = ProxyInfo()
        self._probe: Probe | None = None
        self._head = bytearray()
        self._socket: WebSocketEnd | None = None
        self._attempt: ByteStream | None = None
        self._attempts = 0
        self._unanswered = Unanswered()
        self._input = b""
        """What was received and not looked at yet; nothing is read meanwhile."""
        self._held = False
        """Whether the upstream takes no more."""
        self._full = False
        """Whether the visitor takes no more."""
        self._resting = False
        """Whether the stream was refused, and another one will be opened in a moment."""
        self._discarding = False
        """Whether all is said, and what still comes is dropped."""
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether its end would be noticed."""
        return self._socket is not None and not self._discarding

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Envoy has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._peers.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the visitor."""
        if self._discarding:
            return
        if self._reader is not None:
            rest = self._introduced(data)
            if not rest:
                return
            data = rest
        if self._socket is None:
            self._greet(data)
        else:
            self._input += data
            self._read_frames()

    def eof_received(self) -> bool:
        """The visitor is gone."""
        return False

    def pause_writing(self) -> None:
        """The visitor reads too slowly: give the stream no more credit."""
        self._full = True
        if self._attempt is not None:
            self._attempt.stream.pause_reading()

    def resume_writing(self) -> None:
        """The visitor reads again."""
        self._full = False
        if self._attempt is not None:
            self._attempt.stream.resume_reading()
        self._reply()

    def connection_lost(self, error: Exception | None) -> None:
        """The visitor is gone; without a Close nobody knows whether all has arrived, so the stream is reset."""
        self._peers.discard(self)
        self._discarding = True
        self._stop_timers()
        self._drop_probe()
        self._let_go()

    # Called by the bind and the stream.

    def cut(self) -> None:
        """End the WebSocket and its stream now."""
        self._let_go()
        if self._socket is not None and not self._discarding and not self._transport.is_closing():
            self._transport.write(self._socket.close(GOING_AWAY, "The endpoint has ended."))
        self._part()

    def hold(self) -> None:
        """The upstream reads too slowly: read no more of the visitor, but look whether he has left."""
        self._held = True
        self._read_or_not()
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def go_on(self) -> None:
        """The upstream reads again."""
        self._held = False
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._read_or_not()

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the upstream, as one message."""
        assert self._socket is not None
        self._unanswered.answered()
        self._carrier.figures.bytes_out_total += len(data)
        if not self._discarding:
            self._transport.write(self._socket.message(data))

    def upstream_finished(self, attempt: ByteStream) -> None:
        """The upstream sends no more."""
        if attempt is not self._attempt:
            return
        if attempt.answered:
            self._close(NORMAL)
        else:
            self._wait_for_reason()

    def upstream_ended(self, attempt: ByteStream, code: int | None) -> None:
        """The stream is over: in order (`code` None) or reset."""
        if attempt is not self._attempt:
            return
        self._attempt = None
        self.go_on()
        attempt.drop()
        unseen = not attempt.answered and self._unanswered.is_whole
        if code == frames.ErrorCode.ACCEPT_QUEUE_FULL and unseen and self._attempts < limits.STREAM_ATTEMPTS:
            self._retry_after(limits.STREAM_RETRY_SECONDS * 2 ** (self._attempts - 1))
        elif not self._carrier.alive:
            self._close(RESTART, "The agent's session has ended.")
        elif code == frames.ErrorCode.REFUSED and not attempt.answered:
            self._close_for_number()
        elif not attempt.answered:
            self._wait_for_reason()
        elif code is None:
            self._close(NORMAL)
        else:
            self._close(BROKEN, "The agent lost its connection to the upstream.")

    # The beginning.

    def _introduced(self, data: bytes) -> bytes:
        """What follows the PROXY header, once that is known."""
        assert self._reader is not None
        try:
            address = self._reader.feed(data)
        except frames.ProtocolError:
            self._transport.abort()
            return b""
        if address is None:
            return b""
        local, rest = self._reader.local, self._reader.rest
        self._address, self._reader = address, None
        if local and not rest:
            self._probe = Probe(self._carrier, self._lease, self._probed)
        return rest

    def _probed(self, reached: bool) -> None:
        """A check by connection gets the one word that it waits for."""
        self._probe = None
        if reached:
            self._transport.write(PROBE_ANSWER)
        self._transport.close()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.drop()
            self._probe = None

    def _greet(self, data: bytes) -> None:
        self._drop_probe()
        searched = max(len(self._head) - 3, 0)
        self._head += data
        end = self._head.find(b"\r\n\r\n", searched) + 4
        if end < 4:
            if len(self._head) > HEAD_BYTES:
                self._refuse(REQUEST_REFUSED, "The head of the request is too long.")
            return
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        try:
            socket = WebSocketEnd(head)
        except RefusedError as refused:
            self._refuse(refused.code, refused.detail)
            return
        self._unanswered.begin(b"", http1=False)
        if self._offer_first():
            self._head.clear()
            self._socket = socket
            self._transport.write(socket.accept())
            self._input = rest
            self._read_frames()

    def _offer_first(self) -> bool:
        """Open the stream while a page can still tell that there is none."""
        try:
            self._offer()
        except PorticoError as error:
            if error.code is STREAM_LIMIT:
                self._carrier.figures.streams_refused_total += 1
                self._refuse(STREAM_LIMIT, "The agent carries as many connections as it can.", unseen=True)
            else:
                self._transport.close()
            return False
        return True

    def _offer(self) -> None:
        """Raises PorticoError."""
        attempt = ByteStream(self, self._carrier)
        self._attempts += 1
        attempt.stream = self._carrier.open_proxy(self._lease, self._address, self._unanswered.kept, attempt)
        self._attempt = attempt

    def _retry_after(self, seconds: float) -> None:
        self._resting = True
        self._read_or_not()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._resting = False
        self._carrier.figures.streams_retried_total += 1
        try:
            self._offer()
        except PorticoError as error:
            if error.code is STREAM_LIMIT:
                self._close_for_number()
            else:
                self._close(RESTART, "The agent's session has ended.")
        self._read_frames()

    # Frames of the visitor.

    def _read_frames(self) -> None:
        """Read what has come, in turns with all others."""
        socket, loop = self._socket, asyncio.get_running_loop()
        assert socket is not None
        until = loop.time() + TURN_SECONDS
        while self._input and not self._discarding and not self._resting:
            piece, self._input = self._input[:SLICE], self._input[SLICE:]
            self._to_upstream(socket.receive(piece))
            self._reply()
            if socket.finished is not None or socket.fault is not None:
                self._visitor_closed(in_order=socket.fault is None)
            elif self._input and loop.time() > until:
                loop.call_soon(self._read_frames)
                break
        self._read_or_not()

    def _to_upstream(self, payload: bytes) -> None:
        if payload and self._attempt is not None:
            self._carrier.figures.bytes_in_total += len(payload)
            self._unanswered.add(payload)
            self._attempt.stream.write(payload)

    def _reply(self) -> None:
        """Answer pings, unless the visitor does not even read what is there."""
        if self._socket is not None and not self._full and not self._discarding:
            self._transport.write(self._socket.replies())

    def _visitor_closed(self, *, in_order: bool) -> None:
        assert self._socket is not None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            if in_order:
                attempt.finish_alone()
            else:
                attempt.drop()
        if closing := self._socket.close(NORMAL):
            self._transport.write(closing)
        self._part()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        if not self._discarding and (self._held or self._resting or self._input):
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Ending.

    def _wait_for_reason(self) -> None:
        """The stream has ended without a byte of the upstream; what the agent says of it may come a moment later."""
        if self._timer is None and not self._discarding:
            self._carrier.figures.streams_failed_total += 1
            self._timer = asyncio.get_running_loop().call_later(REASON_SECONDS, self._give_up)

    def _give_up(self) -> None:
        code, reason = self._carrier.failure(self._lease.bind) or NO_ANSWER
        self._close(BROKEN, f"{code}: {reason}")

    def _close_for_number(self) -> None:
        self._carrier.figures.streams_refused_total += 1
        self._close(TRY_LATER, f"{STREAM_LIMIT}: The agent carries as many connections as it can.")

    def _close(self, code: int, reason: str = "") -> None:
        """Say that it is over; the visitor's own Close is awaited for a while."""
        if self._discarding or self._transport.is_closing():
            return
        assert self._socket is not None
        if closing := self._socket.close(code, reason):
            self._transport.write(closing)
            self._stop_timers()
            self._linger()

    def _refuse(self, code: ErrorCode, detail: str, *, unseen: bool = False) -> None:
        fields = [VERSION_FIELD] if code.status == 426 else []
        head, mark = bytes(self._head), self._carrier.mark
        self._transport.write(http_answer.error_page(code, detail, head, mark, unseen=unseen, fields=fields))
        self._part()

    def _part(self) -> None:
        """Close after what is written. What Envoy still sends is dropped: it forgets answers when a write fails."""
        self._discarding = True
        self._input = b""
        self._head.clear()
        self._stop_timers()
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._linger()

    def _linger(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._leave)

    def _leave(self) -> None:
        """Close, unless a visitor who pauses has yet to take some of what was said."""
        if self._transport.get_write_buffer_size():
            self._linger()
        else:
            self._transport.abort()

    def _let_go(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.drop()

    def _look(self) -> None:
        self._watching = None
        if has_left(self._transport):
            self._transport.abort()
        elif self._held:
            self.hold()

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._watching):
            if timer is not None:
                timer.cancel()
        self._timer = self._watching = None
