"""Drives a Session over an asyncio transport and gives each stream to its handler."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, cast

from portico.tunnel.events import (
    Data,
    Event,
    GoAway,
    PeerLost,
    SessionFailed,
    StreamClosed,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.session import Buffer, Session

log = logging.getLogger(__name__)

READ_SIZE: Final = 0x40000
"""Bytes read from the session's socket at once."""
WRITE_HIGH: Final = 0x40000
"""Bytes in the transport's buffer above which nothing more is given to it."""
RECORD: Final = 0x4000
"""Bytes of the largest TLS record (RFC 8446, 5.1)."""
CLOSE_GRACE: Final = 1.0
"""Seconds that a closing connection has to take what is queued."""
RETIRE_GRACE: Final = 60.0
"""How long the peer of a retired connection may take to read what its streams sent last, and to close."""


class Stream:
    """One stream of a session, as its handler uses it. After the stream's end all calls are no-ops."""

    __slots__ = ("_crowded", "_held", "_paused", "_reading", "_session", "handler", "id", "kind", "protocol")

    def __init__(self, protocol: "SessionProtocol", stream: int, kind: int, handler: StreamHandler) -> None:
        self.protocol = protocol
        self.id = stream
        self.kind = kind
        self.handler = handler
        """Who receives; may be replaced at any time, e.g. once a header is read."""
        self._session = protocol.session
        self._crowded = protocol.session.flow.crowded
        self._reading = True
        self._held = 0
        self._paused = False

    def write(self, data: Buffer) -> None:
        """Queue bytes; they leave with those of other streams at the end of this turn of the event loop."""
        if self._session.send(self.id, data) > self._crowded and not self._paused:
            self._paused = True
            self.handler.pause_writing()
        self.protocol.flush_soon()

    def write_eof(self) -> None:
        """Finish our direction after what is queued."""
        self._session.finish(self.id)
        self.protocol.flush_soon()

    def reset(self, code: int = ErrorCode.CANCELLED) -> None:
        """Drop the stream at once, and all that is queued on it."""
        self._session.reset(self.id, code)
        self.protocol.stream_over(self, code)

    def abandon(self) -> None:
        """End the stream where nobody reads any more: FIN and then RST (see Session.abandon)."""
        self._session.abandon(self.id)
        self.protocol.stream_over(self, ErrorCode.CANCELLED)

    def pause_reading(self) -> None:
        """Give the peer no more credit: at most a window more will come."""
        self._reading = False

    def resume_reading(self) -> None:
        """Credit what came since `pause_reading`, and go on."""
        if not self._reading:
            self._reading = True
            held, self._held = self._held, 0
            self._session.credit(self.id, held)
            self.protocol.flush_soon()

    @property
    def queued(self) -> int:
        """Bytes written that have not left yet."""
        return self._session.queued(self.id)

    def deliver(self, data: bytes) -> None:
        """Hand bytes to the handler and credit them, or hold their credit back (for the protocol's use)."""
        self.handler.data_received(data)
        if self._reading:
            self._session.credit(self.id, len(data))
        else:
            self._held += len(data)

    def drained(self) -> None:
        """Let a paused handler write again (for the protocol's use)."""
        if self._paused:
            self._paused = False
            self.handler.resume_writing()


OnStream = Callable[[Stream], "StreamHandler | None"]
"""Chooses the handler of a stream that the peer opened (`stream.kind` tells which kind); None refuses it."""


def _ignore(_: Event) -> None:
    pass


class SessionProtocol(asyncio.BufferedProtocol):
    """One session (made with `time.monotonic()` as its `now`) over one connection.

    `on_stream` is asked for each stream that the peer opens; `on_end(reason)` is called once, after every handler has
    been told `connection_lost`; `on_event` hears HeartbeatEchoed and PeerUnresponsive.
    """

    def __init__(
        self,
        session: Session,
        on_stream: OnStream,
        on_end: Callable[[str], None],
        on_event: Callable[[Event], None] = _ignore,
    ) -> None:
        self.session = session
        self.streams: dict[int, Stream] = {}
        self.bytes_received = 0
        self.bytes_sent = 0
        self._on_stream = on_stream
        self._on_end = on_end
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = _read_buffer()
        self._encrypts = False
        self._writable = True
        self._flush_queued = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._reason: str | None = None
        self._retiring = ""
        """Why, where the connection ends with its last stream."""

    # For the owner of the session.

    @property
    def is_open(self) -> bool:
        """Whether streams can come and go."""
        return self._transport is not None and not self.session.closed

    def open(self, kind: int, handler: StreamHandler, first: bytes = b"") -> Stream:
        """Open a stream. Raises PorticoError(STREAM_LIMIT, SESSION_CLOSED)."""
        self.flush_soon()
        stream = Stream(self, self.session.open(kind, first), kind, handler)
        self.streams[stream.id] = stream
        return stream

    def start_heartbeat(self, interval: float, tolerance: float, *, expect_beats: bool = True) -> None:
        """See Session.start_heartbeat."""
        self.session.start_heartbeat(interval, tolerance, time.monotonic(), expect_beats=expect_beats)
        self.flush_soon()

    def give(self, on_stream: OnStream, on_end: Callable[[str], None]) -> None:
        """Let somebody else choose the handlers of streams from now on, and hear of the end."""
        self._on_stream, self._on_end = on_stream, on_end

    def retire(self, reason: str) -> None:
        """Say goodbye as soon as the connection carries no stream; the peer closes it once that is read.

        For peers that close then, as ours do. Closed by us, the connection would lose what the streams sent last where
        the peer writes before it has read that: its write fails, and so does what lies between us.
        """
        self._retiring = reason
        if not self.streams and not self.session.closed:
            self._reason = self._reason or reason
            self.session.go_away(ErrorCode.NONE, reason)
            if self._transport is not None:
                self._write(self._transport, self.session.data_to_send(time.monotonic()))
                self._loop.call_later(RETIRE_GRACE, self._transport.abort)

    def close(self, code: int = ErrorCode.NONE, message: str = "", grace: float = CLOSE_GRACE) -> None:
        """Send GOAWAY and close the connection, within `grace` seconds even if the peer does not read."""
        self._reason = self._reason or message or "closed"
        self.session.go_away(code, message)
        if self._transport is not None and not self._transport.is_closing():
            self._write(self._transport, self.session.data_to_send(time.monotonic()))
            self._transport.close()
            self._loop.call_later(grace, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Drop the connection, with nothing more sent."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; call it by hand after `transport.set_protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH, WRITE_HIGH // 4)
        self._encrypts = transport.get_extra_info("sslcontext") is not None
        self._arm()
        self.flush_soon()

    def get_buffer(self, sizehint: int) -> memoryview:
        """All sessions of a thread share one buffer: what is read is taken out of it before the loop goes on."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes were read into the buffer."""
        self.receive(self._buffer[:nbytes])

    def receive(self, data: Buffer) -> None:
        """Take bytes of the peer (by hand only for those that came before `set_protocol`)."""
        self.bytes_received += len(data)
        self._dispatch(self.session.receive(data, time.monotonic()))
        if self.session.restless:
            self.flush_soon()
        else:
            self._arm_earlier(self.session.next_timeout())  # after an echo the next beat is nearer than the loss was

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it every stream."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.session.closed:
            self.session.go_away(ErrorCode.PEER_EOF, "")
        for stream in list(self.streams.values()):
            self.stream_over(stream, ErrorCode.SESSION_CLOSED)
        self._on_end(self._reason or (str(exc) if exc else "the peer closed the connection"))

    def pause_writing(self) -> None:
        """The connection is full: what streams write stays with them, until each is crowded and paused."""
        self._writable = False

    def resume_writing(self) -> None:
        """The connection takes bytes again."""
        self._writable = True
        self.flush_soon()

    # Sending.

    def flush_soon(self) -> None:
        """Write at the end of this turn of the event loop, once for all streams."""
        if not self._flush_queued and self._writable:
            self._flush_queued = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_queued = False
        session, transport = self.session, self._transport
        if transport is None:
            return
        while self._writable and (buffers := session.data_to_send(time.monotonic())):
            self._write(transport, buffers)
            if session.notices:
                notices, session.notices = session.notices, []
                self._dispatch(notices)
        if session.closed:
            if not self._retiring:
                self.close(message="the session has ended itself")
            return
        self._arm_earlier(session.next_timeout())

    def _write(self, transport: asyncio.WriteTransport, buffers: list[Buffer]) -> None:
        if self._encrypts and len(buffers) > 1:
            buffers = tls_records(buffers)
        transport.writelines(buffers)

    def _arm_earlier(self, deadline: float | None) -> None:
        if deadline is not None and (self._timer is None or deadline < self._timer_at):
            self._arm()

    # Events.

    def _dispatch(self, events: list[Event]) -> None:
        streams = self.streams
        for event in events:
            if type(event) is Data:
                stream = streams.get(event.stream)
                if stream is not None:
                    try:
                        stream.deliver(event.data)
                    except Exception:
                        self._handler_failed(stream)
            else:
                self._rare_event(event)

    def _rare_event(self, event: Event) -> None:
        match event:
            case StreamOpened():
                self._accept(event)
            case StreamFinished() | StreamDrained() | StreamReset() | StreamClosed():
                stream = self.streams.get(event.stream)
                if stream is not None:
                    self._stream_event(stream, event)
            case GoAway():
                self._reason = f"the peer ended the session: {event.message or 'no reason given'} ({event.code})"
                self.abort(self._reason)
            case SessionFailed():
                self.close(event.code, event.message)
            case PeerLost():
                self.abort(event.reason)
            case _:
                self._on_event(event)

    def _stream_event(self, stream: Stream, event: Event) -> None:
        try:
            match event:
                case StreamFinished():
                    stream.handler.eof_received()
                case StreamDrained():
                    stream.drained()
                case StreamReset():
                    self.stream_over(stream, event.code)
                case StreamClosed():
                    self.stream_over(stream, None)
        except Exception:
            self._handler_failed(stream)

    def _accept(self, event: StreamOpened) -> None:
        stream = Stream(self, event.stream, event.kind, _REFUSED)
        self.streams[event.stream] = stream
        try:
            handler = self._on_stream(stream)
        except Exception:
            self._handler_failed(stream)
            return
        if handler is None:
            stream.reset(ErrorCode.REFUSED)
        else:
            stream.handler = handler

    def _handler_failed(self, stream: Stream) -> None:
        log.exception("a stream's handler failed", extra={"stream": stream.id, "kind": stream.kind})
        stream.reset(ErrorCode.INTERNAL)

    def stream_over(self, stream: Stream, code: int | None) -> None:
        """Forget a stream and tell its handler, once."""
        if self.streams.pop(stream.id, None) is None:
            return
        self.flush_soon()
        try:
            stream.handler.connection_lost(code)
        except Exception:
            log.exception("a stream's handler failed at its end", extra={"stream": stream.id, "kind": stream.kind})
        if self._retiring:
            self.retire(self._retiring)

    # Time.

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.next_timeout()
        if deadline is not None:
            # uvloop's clock has whole milliseconds: one more, or the timer fires just before its time
            self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()) + 0.001, self._tick)
            self._timer_at = deadline

    def _tick(self) -> None:
        self._timer = None
        self._dispatch(self.session.handle_timeout(time.monotonic()))
        self._arm()
        self.flush_soon()


def tls_records(buffers: list[Buffer]) -> list[Buffer]:
    """Cut at full TLS records: uvloop makes at least one of each buffer, even of a header's 8 bytes.

    What shares a record with something else is copied, the whole records of a large buffer are not.
    """
    records: list[Buffer] = []
    shared: list[Buffer] = []
    room = RECORD
    for buffer in buffers:
        rest = memoryview(buffer)
        if shared and len(rest) >= room:
            shared.append(rest[:room])
            records.append(b"".join(shared))
            rest, shared, room = rest[room:], [], RECORD
        whole = len(rest) - len(rest) % RECORD
        if whole:
            records.append(rest[:whole])
            rest = rest[whole:]
        if len(rest):
            shared.append(rest)
            room -= len(rest)
    if shared:
        records.append(b"".join(shared))
    return records


_REFUSED: Final = StreamHandler()
_thread: Final = threading.local()


def _read_buffer() -> memoryview:
    with contextlib.suppress(AttributeError):
        return cast("memoryview", _thread.buffer)
    _thread.buffer = memoryview(bytearray(READ_SIZE))
    return cast("memoryview", _thread.buffer)
