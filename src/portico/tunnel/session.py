"""One muxado session, either side, without input or output: bytes in, events out, bytes to send.

The driver gives the time with each call; a session never looks at a clock. What `data_to_send` returns is in the order
control frames first, then one DATA frame of each stream that may send, in turn.
"""

import struct
from collections import deque
from typing import Final

from portico.model.errors import SESSION_CLOSED, STREAM_LIMIT, PorticoError
from portico.tunnel.events import (
    Data,
    Event,
    GoAway,
    HeartbeatEchoed,
    PeerLost,
    PeerUnresponsive,
    SessionFailed,
    StreamClosed,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from portico.tunnel.flow import NARROW, WIDENED
from portico.tunnel.frames import (
    CONTINUED,
    DATA,
    FIN,
    MAX_STREAM_ID,
    RST,
    SYN,
    WNDINC,
    ErrorCode,
    FrameReader,
    ProtocolError,
    data_header,
    go_away_frame,
    reset_frame,
    window_frame,
)
from portico.tunnel.heartbeat import HEARTBEAT_KIND, NONCE_SIZE, Heartbeat
from portico.tunnel.stream import StreamState

Buffer = bytes | memoryview

MAX_OWN_STREAMS: Final = 480
"""Streams we open at once: a Rust SDK drops its whole session at 512, RPC and heartbeat streams included."""
MAX_PEER_STREAMS: Final = 512
"""Streams the peer may have open at once; more are refused one by one."""
SEND_BUDGET: Final = 0x40000
"""Bytes of DATA that `data_to_send` returns at once; the driver asks again when its transport takes more."""
MAX_CONTROL_FRAMES: Final = 8192
"""Control frames that may wait for a peer which sends and does not read, before the session is ended."""
FIRST_CREDIT_SECONDS: Final = 2.0
"""A live peer sends something soon after a stream was opened; so long a silence after a SYN is worth an event."""
SIGN_SECONDS: Final = 0.25
"""How soon ours does, where it has nothing else to send: a frame of its own for each visitor is dear."""

_NO_STREAM: Final = MAX_STREAM_ID - 1
"""The first of two ids, one of each parity, that are never opened."""
_KIND: Final = struct.Struct(">I")


class Session:
    """The state of one session. `client` is the side that dialled: its streams are 3, 5 …, the other's 2, 4 …."""

    def __init__(
        self,
        client: bool,
        now: float,
        *,
        max_own_streams: int = MAX_OWN_STREAMS,
        max_peer_streams: int = MAX_PEER_STREAMS,
    ) -> None:
        self.prompt_ack = False
        """Answer each received batch with some small frame at once: Rust SDKs leave Nagle on, and hold back their next
        small frame until the kernel's delayed ACK (40 ms) unless something of ours carries it."""
        self.finish_before_reset = False
        """Send FIN before each RST: RST alone does not wake an idle stream of a Rust SDK."""
        self.flow = NARROW
        """Of streams opened from now on; both sides change it at the same point of what is said."""
        self.max_own_streams = max_own_streams
        self.max_peer_streams = max_peer_streams
        self.closed = False
        self.heartbeat: Heartbeat | None = None
        self.last_received = now
        self.own_streams = 0
        self.peer_streams = 0
        self.notices: list[Event] = []
        """Events that sending caused (StreamDrained, StreamClosed); the driver takes them after `data_to_send`."""
        self._parity = 1 if client else 0
        self._next_stream = 3 if client else 2
        self._last_peer_stream = 0
        self._streams: dict[int, StreamState] = {}
        self._ready: deque[StreamState] = deque()
        self._control: list[Buffer] = []
        self._reader = FrameReader()
        self._beat_stream: int | None = None
        self._syn_at: float | None = None
        self._sign_at: float | None = None
        """When the peer should have a sign of life, if nothing of ours goes its way sooner."""
        self._answer_owed = False
        self._last_data: StreamState | None = None
        self._widened = 0

    # What the driver reads.

    @property
    def stream_count(self) -> int:
        """Streams open now, heartbeats included."""
        return len(self._streams)

    @property
    def can_open(self) -> bool:
        """Whether `open` would succeed now."""
        return not self.closed and self.own_streams < self.max_own_streams and self._next_stream < _NO_STREAM

    @property
    def restless(self) -> bool:
        """Whether there may be something to send, or the session is over."""
        return bool(self._control or self._ready) or self._answer_owed or self.closed

    @property
    def latency(self) -> float | None:
        """Seconds that the last echoed heartbeat took; None before the first."""
        return self.heartbeat.latency if self.heartbeat else None

    def queued(self, stream: int) -> int:
        """Bytes of `stream` that wait to leave."""
        state = self._streams.get(stream)
        return state.pending_bytes if state else 0

    def windows(self, stream: int) -> tuple[int, int] | None:
        """(bytes we may send, bytes the peer may send) on a live stream."""
        state = self._streams.get(stream)
        return (state.send_window, state.receive_window) if state else None

    # What the driver does. Calls about a stream that is gone are no-ops: the peer may reset it at any time.

    def open(self, kind: int, first: bytes = b"") -> int:
        """Open a stream; its 4 type bytes and `first` leave in one frame.

        Raises PorticoError(STREAM_LIMIT, SESSION_CLOSED). A session whose ids are used up ends itself.
        """
        if self._next_stream >= _NO_STREAM:
            self.go_away(ErrorCode.STREAMS_EXHAUSTED, "the stream ids are used up")
        if self.closed:
            raise PorticoError(SESSION_CLOSED, "no stream can be opened on a closed session")
        if self.own_streams >= self.max_own_streams:
            raise PorticoError(STREAM_LIMIT, f"{self.own_streams} streams are open already")
        return self._open(kind, first)

    def send(self, stream: int, data: Buffer) -> int:
        """Queue bytes; returns how many wait now. Above `flow.crowded`, write no more until StreamDrained."""
        state = self._streams.get(stream)
        if state is None or state.finishing:
            return 0
        if len(data):
            self._queue(state, data)
        if state.pending_bytes > state.flow.crowded:
            state.crowded = True
        return state.pending_bytes

    def finish(self, stream: int) -> None:
        """End our direction after what is queued; FIN rides on the last frame."""
        state = self._streams.get(stream)
        if state is not None and not state.finishing:
            state.finishing = True
            if not state.queued and state.may_send:
                state.queued = True
                self._ready.append(state)

    def reset(self, stream: int, code: int = ErrorCode.CANCELLED) -> None:
        """Drop the stream in both directions with all that is queued on it."""
        state = self._streams.get(stream)
        if state is not None:
            self._reset(state, code)

    def abandon(self, stream: int, code: int = ErrorCode.CANCELLED) -> None:
        """Drop the stream with what is queued on it: FIN, then RST unless the peer has finished already."""
        state = self._streams.get(stream)
        if state is None:
            return
        if state.syn_sent and not state.fin_sent:
            state.fin_sent = True
            self._control.append(data_header(state.id, 0, FIN))
        if state.fin_received:
            self._forget(state)
        else:
            self._reset(state, code)

    def credit(self, stream: int, size: int, *, at_once: bool = False) -> None:
        """Note that `size` received bytes are consumed. The peer learns it in batches, or `at_once`."""
        state = self._streams.get(stream)
        if state is None:
            return
        state.consume(size)
        # Less, and a bulk transfer sends many WNDINCs; more, and the usable window shrinks.
        if state.owed >= state.window // 4 or at_once:
            self._send_credit(state)

    def go_away(self, code: int, message: str) -> None:
        """Tell the peer that the session ends here: nothing is read or queued afterwards. Close once it is sent."""
        if self.closed:
            return
        self._control.append(go_away_frame(self._last_peer_stream, code, message.encode()))
        self._close()

    def start_heartbeat(self, interval: float, tolerance: float, now: float, *, expect_beats: bool = True) -> None:
        """Beat every `interval` seconds from now on; the peer is lost after `interval + tolerance` without echo, or,
        if `expect_beats`, without a beat of its own."""
        self.heartbeat = Heartbeat(interval, tolerance, now, expect_beats=expect_beats)
        self._beat(now)

    # Time.

    def next_timeout(self) -> float | None:
        """When `handle_timeout` should be called next; may lie in the past."""
        if self.closed:
            return None
        first = self.heartbeat.deadline() if self.heartbeat else None
        if self._syn_at is not None and (first is None or self._syn_at + FIRST_CREDIT_SECONDS < first):
            first = self._syn_at + FIRST_CREDIT_SECONDS
        if self._sign_at is not None and (first is None or self._sign_at < first):
            first = self._sign_at
        return first

    def handle_timeout(self, now: float) -> list[Event]:
        """Send a beat or a sign of life that is due; tell of a peer that is silent."""
        if self.closed:
            return []
        events: list[Event] = []
        if self.heartbeat is not None:
            reason = self.heartbeat.lost(now)
            if reason is not None:
                self._close()
                return [PeerLost(reason)]
            self._beat(now)
        if self._syn_at is not None and now >= self._syn_at + FIRST_CREDIT_SECONDS:
            events.append(PeerUnresponsive(now - self._syn_at))
            self._syn_at = None
        if self._sign_at is not None and now >= self._sign_at:
            self._sign_at = None
            self._answer_owed = True
        return events

    # Sending.

    def data_to_send(self, now: float, budget: int = SEND_BUDGET) -> list[Buffer]:
        """What to write now, about `budget` bytes at most; empty if nothing. Then see `notices`."""
        out, self._control = self._control, []
        ready = self._ready
        while ready and budget > 0:
            state = ready.popleft()
            state.queued = False
            if state.closed or not state.may_send:
                continue
            if not state.syn_sent and self._syn_at is None:
                self._syn_at = now
            budget -= state.take_frame(out)
            if state.pending and state.may_send:
                state.queued = True
                ready.append(state)
            if state.crowded or state.fin_sent:
                self._after_frame(state)
        if self._answer_owed:
            self._answer_owed = False
            if not out:
                out.append(self._small_answer())
        if out:
            self._sign_at = None
        return out

    def _after_frame(self, state: StreamState) -> None:
        if state.crowded and state.pending_bytes <= state.flow.crowded // 2:
            state.crowded = False
            self.notices.append(StreamDrained(state.id))
        if state.fin_sent and state.fin_received:
            self._forget(state)
            self.notices.append(StreamClosed(state.id))

    def _open(self, kind: int, first: bytes) -> int:
        state = StreamState(self._next_stream, self.flow)
        self._next_stream += 2
        self.own_streams += 1
        state.kind = kind
        state.plain = kind != HEARTBEAT_KIND
        state.syn_sent = False
        self._streams[state.id] = state
        self._queue(state, _KIND.pack(kind) + first)
        return state.id

    def _queue(self, state: StreamState, data: Buffer) -> None:
        state.pending.append(data)
        state.pending_bytes += len(data)
        if not state.queued and state.send_window > 0:
            state.queued = True
            self._ready.append(state)

    def _send_credit(self, state: StreamState) -> None:
        if state.window < state.flow.widest and state.owed >= state.window // 4:
            self._widen(state)
        increment = state.take_credit()
        if increment and not state.fin_received:
            self._control.append(window_frame(state.id, increment))

    def _widen(self, state: StreamState) -> None:
        """Double the window of a stream that it seems to hold up: half of it or more comes in a round trip, and is
        consumed as quickly."""
        now = self.last_received
        round_trip = self.heartbeat.shortest if self.heartbeat else None
        held_up = round_trip is not None and now - state.credited_at < round_trip / 2
        state.credited_at = now
        if held_up and self._widened + state.window <= WIDENED:
            self._widened += state.window
            state.owed += state.window
            state.window *= 2

    def _small_answer(self) -> Buffer:
        """The smallest harmless frame, to carry a TCP ACK: a credit that is owed, else an empty FIN for a stream that
        nobody will ever open, which Go and Rust ignore (a late FIN is normal in muxado)."""
        state = self._last_data
        if state is not None and state.owed and not state.closed and not state.fin_received:
            return window_frame(state.id, state.take_credit())
        return data_header(_NO_STREAM + self._parity, 0, FIN)

    def _beat(self, now: float) -> None:
        nonce = self.heartbeat.beat(now) if self.heartbeat else None
        if nonce is None:
            return
        if self._beat_stream not in self._streams:
            self._beat_stream = self._open(HEARTBEAT_KIND, nonce)  # a full session beats all the same
        else:
            self.send(self._beat_stream, nonce)

    # Receiving.

    def receive(self, data: Buffer, now: float) -> list[Event]:
        """Take bytes from the peer, in any split. Never raises: a broken protocol ends in SessionFailed."""
        events: list[Event] = []
        if self.closed:
            return events
        self.last_received = now
        self._syn_at = None
        streams = self._streams
        try:
            for kind, flags, stream, value in self._reader.frames(data):
                state = streams.get(stream)
                if kind == DATA:
                    assert isinstance(value, bytes)
                    if state is None or flags & SYN or state.fin_received:
                        state = self._unusual_data(state, stream, flags, len(value), events)
                        if state is None:
                            continue
                    self._data(state, flags, value, events, now)
                elif kind == WNDINC:
                    self._window(state, value)
                elif kind == RST:
                    self._peer_reset(state, value, events)
                else:
                    self._peer_go_away(value, events)
        except ProtocolError as error:
            self._fail(error.code, error.message, events)
        if len(self._control) > MAX_CONTROL_FRAMES and not self.closed:
            self._control.clear()
            self._fail(ErrorCode.CALM, "frames that need an answer are sent and the answers are not read", events)
        return events

    def _data(self, state: StreamState, flags: int, payload: bytes, events: list[Event], now: float) -> None:
        size = len(payload)
        self._answer_owed = self.prompt_ack
        overrun = size > state.receive_window
        if overrun:
            payload = payload[: state.receive_window]
            size = len(payload)
        if size:
            state.receive_window -= size
            if state.plain:
                self._last_data = state
                events.append(Data(state.id, payload))
            else:
                self._special(state, payload, events, now)
        if overrun and not state.closed:
            self._break_off(state, ErrorCode.FLOW_CONTROL, events)
        elif flags & FIN and not state.closed:
            self._peer_finished(state, events)

    def _unusual_data(
        self, state: StreamState | None, stream: int, flags: int, size: int, events: list[Event]
    ) -> StreamState | None:
        """Deal with DATA that begins a stream, or that has none to go to (None)."""
        if state is not None:
            if flags & SYN:
                raise ProtocolError(ErrorCode.PROTOCOL, f"SYN for stream {stream}, which is open")
            if size:
                self._break_off(state, ErrorCode.STREAM_CLOSED, events)
            return None
        if flags & SYN:
            return self._accept(stream)
        if not flags & CONTINUED and (size or not flags & FIN):
            self._control.append(reset_frame(stream, ErrorCode.STREAM_CLOSED))
        return None

    def _accept(self, stream: int) -> StreamState | None:
        if stream & 1 == self._parity:
            raise ProtocolError(ErrorCode.PROTOCOL, f"stream {stream} has our own parity")
        if self.peer_streams >= self.max_peer_streams:
            self._control.append(reset_frame(stream, ErrorCode.REFUSED))
            return None
        self.peer_streams += 1
        self._last_peer_stream = max(stream, self._last_peer_stream)
        state = self._streams[stream] = StreamState(stream, self.flow)
        return state

    def _special(self, state: StreamState, payload: bytes, events: list[Event], now: float) -> None:
        """Bytes that the session keeps for itself: the kind of a new stream, and nonces."""
        if state.kind is None:
            missing = _KIND.size - len(state.prefix)
            state.prefix += payload[:missing]
            if len(state.prefix) < _KIND.size:
                return
            (state.kind,) = _KIND.unpack(state.prefix)
            state.prefix, payload = b"", payload[missing:]
            state.consume(_KIND.size)
            self._show_life(state, now)
            state.plain = state.kind != HEARTBEAT_KIND
            if state.plain:
                events.append(StreamOpened(state.id, state.kind))
                if payload:
                    self._last_data = state
                    events.append(Data(state.id, payload))
        if not state.plain and payload:
            self._nonces(state, payload, events, now)

    def _show_life(self, state: StreamState, now: float) -> None:
        """Whoever opens a stream waits for some bytes of ours: SDKs are credited at once; a relay has the patience of
        FIRST_CREDIT_SECONDS, and mostly gets the answer itself from an agent."""
        if not self._parity:
            self._send_credit(state)
        elif self._sign_at is None:
            self._sign_at = now + SIGN_SECONDS

    def _nonces(self, state: StreamState, payload: bytes, events: list[Event], now: float) -> None:
        data = state.prefix + payload
        whole = len(data) - len(data) % NONCE_SIZE
        state.prefix = data[whole:]
        self.credit(state.id, len(payload))
        if state.id & 1 != self._parity:
            if self.heartbeat is not None and whole:
                self.heartbeat.heard(now)
            if self.send(state.id, data[:whole]) > state.flow.crowded:
                raise ProtocolError(ErrorCode.CALM, "heartbeats are sent and their echoes are not read")
        elif self.heartbeat is not None:
            for start in range(0, whole, NONCE_SIZE):
                latency = self.heartbeat.echoed(data[start : start + NONCE_SIZE], now)
                if latency is not None:
                    events.append(HeartbeatEchoed(latency))

    def _peer_finished(self, state: StreamState, events: list[Event]) -> None:
        state.fin_received = True
        if state.plain:
            events.append(StreamFinished(state.id))
            if state.fin_sent:
                self._forget(state)
                events.append(StreamClosed(state.id))
        elif state.kind == HEARTBEAT_KIND and state.id & 1 != self._parity:
            self.finish(state.id)
        else:
            self._reset(state, ErrorCode.PROTOCOL)

    def _window(self, state: StreamState | None, increment: object) -> None:
        assert isinstance(increment, int)
        self._answer_owed = self.prompt_ack
        if increment == 0:
            raise ProtocolError(ErrorCode.PROTOCOL, "WNDINC of 0")
        if state is not None:
            state.send_window = min(state.send_window + increment, state.flow.widest)
            if state.pending and not state.queued:
                state.queued = True
                self._ready.append(state)

    def _peer_reset(self, state: StreamState | None, code: object, events: list[Event]) -> None:
        assert isinstance(code, int)
        self._answer_owed = self.prompt_ack
        if state is not None:
            self._forget(state)
            if state.plain:
                events.append(StreamReset(state.id, code, by_peer=True))

    def _peer_go_away(self, value: object, events: list[Event]) -> None:
        assert isinstance(value, tuple)
        _, code, text = value
        self._close()
        events.append(GoAway(code, text.decode(errors="replace")))

    # Ends.

    def _break_off(self, state: StreamState, code: int, events: list[Event]) -> None:
        """Reset a stream on which the peer broke the rules."""
        self._reset(state, code)
        if state.plain:
            events.append(StreamReset(state.id, code, by_peer=False))

    def _reset(self, state: StreamState, code: int) -> None:
        if state.syn_sent:
            if self.finish_before_reset and not state.fin_sent:
                self._control.append(data_header(state.id, 0, FIN))
            self._control.append(reset_frame(state.id, code))
        self._forget(state)

    def _forget(self, state: StreamState) -> None:
        state.closed = True
        self._widened -= state.window - state.flow.window
        state.pending.clear()
        state.pending_bytes = 0
        del self._streams[state.id]
        if state.id & 1 == self._parity:
            self.own_streams -= 1
        else:
            self.peer_streams -= 1

    def _fail(self, code: int, message: str, events: list[Event]) -> None:
        self.go_away(code, message)
        events.append(SessionFailed(code, message))

    def _close(self) -> None:
        self.closed = True
        self._streams.clear()
        self._ready.clear()
        self._syn_at = None
        self._answer_owed = False
