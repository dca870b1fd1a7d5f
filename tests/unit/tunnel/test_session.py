import itertools
import struct
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from portico.tunnel.flow import NARROW, WIDE, WIDENED
from portico.tunnel.frames import (
    DATA,
    FIN,
    GOAWAY,
    RST,
    SYN,
    WNDINC,
    ErrorCode,
    Frame,
    FrameReader,
    data_header,
    go_away_frame,
    reset_frame,
    window_frame,
)
from portico.tunnel.session import MAX_CONTROL_FRAMES, SIGN_SECONDS, Session

PROXY: Final = 3
HEARTBEAT: Final = 0xFFFFFFFF


def server(**limits: int) -> Session:
    return Session(client=False, now=0.0, **limits)


def sent(session: Session, now: float = 0.0) -> list[Frame]:
    """Everything the session wants to send, as frames."""
    wire = b""
    while buffers := session.data_to_send(now):
        wire += b"".join(buffers)
    return list(FrameReader().frames(wire))


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    return data_header(stream, len(payload), flags) + payload


def opening(stream: int, kind: int = PROXY, first: bytes = b"", flags: int = 0) -> bytes:
    return data(stream, struct.pack(">I", kind) + first, SYN | flags)


def joined(events: list[Event]) -> list[Event]:
    """Neighbouring bytes of one stream put together: how they are cut is nobody's promise."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            whole[-1] = Data(event.stream, last.data + event.data)
        else:
            whole.append(event)
    return whole


# Opening.


def test_kind_and_first_bytes_leave_in_the_syn_frame() -> None:
    session = server()
    assert session.open(PROXY, b"hello") == 2
    assert session.open(PROXY) == 4
    assert sent(session) == [(DATA, SYN, 2, b"\0\0\0\3hello"), (DATA, SYN, 4, b"\0\0\0\3")]
    assert Session(client=True, now=0.0).open(0) == 3


def test_a_new_stream_is_told_when_its_kind_is_known_and_credited_at_once() -> None:
    session = server()
    wire = opening(3, 1, b"{}")
    events = [event for byte in wire for event in session.receive(bytes([byte]), 0.0)]
    assert joined(events) == [StreamOpened(3, 1), Data(3, b"{}")]
    assert sent(session) == [(WNDINC, 0, 3, 4)]
    assert session.windows(3) == (NARROW.window, NARROW.window - 2)


def test_an_agent_shows_life_only_where_its_answer_does_not() -> None:
    session = Session(client=True, now=0.0)
    session.receive(opening(2, PROXY, b"hi"), 1.0)
    assert sent(session, 1.0) == []
    assert session.next_timeout() == 1.0 + SIGN_SECONDS
    session.receive(opening(4, PROXY, b"hi"), 1.1)
    session.send(4, b"answer")
    assert sent(session, 1.1) == [(DATA, 0, 4, b"answer")]
    assert session.next_timeout() is None

    session.receive(opening(6, PROXY), 2.0)
    assert session.handle_timeout(2.0 + SIGN_SECONDS) == []
    assert session.next_timeout() is None, "though nothing can leave yet"
    assert sent(session, 3.0) == [(WNDINC, 0, 4, 4)], "any frame will do"
    assert sent(session, 3.0) == []


def test_streams_are_capped_on_both_sides() -> None:
    session = server(max_own_streams=2, max_peer_streams=1)
    session.open(PROXY)
    session.open(PROXY)
    assert not session.can_open
    with pytest.raises(PorticoError) as caught:
        session.open(PROXY)
    assert caught.value.code is STREAM_LIMIT
    sent(session)
    assert session.receive(opening(3) + opening(5, first=b"x"), 0.0) == [StreamOpened(3, PROXY)]
    assert (RST, 0, 5, ErrorCode.REFUSED) in sent(session)
    session.receive(reset_frame(2, 0) + reset_frame(3, 0) + opening(7), 0.0)
    assert session.can_open
    assert session.stream_count == 2


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(opening(2), id="our parity"),
        pytest.param(opening(3) + opening(3), id="open twice"),
        pytest.param(opening(3) + window_frame(3, 0), id="WNDINC 0"),
        pytest.param(bytes.fromhex("00000070 00000003"), id="unknown type"),
    ],
)
def test_a_broken_protocol_ends_the_session(wire: bytes) -> None:
    session = server()
    assert isinstance(session.receive(wire, 0.0)[-1], SessionFailed)
    kind, _, _, value = sent(session)[-1]
    assert kind == GOAWAY
    assert value[1] == ErrorCode.PROTOCOL  # type: ignore[index]
    assert session.receive(opening(5), 0.0) == []
    with pytest.raises(PorticoError) as caught:
        session.open(PROXY)
    assert caught.value.code is SESSION_CLOSED


def test_a_stream_that_ends_before_its_kind_is_never_told() -> None:
    session = server()
    assert session.receive(data(3, b"\0\0", SYN | FIN), 0.0) == []
    assert sent(session) == [(RST, 0, 3, ErrorCode.PROTOCOL)]
    assert session.stream_count == 0


# Ends.


def test_fin_rides_on_the_last_bytes_and_each_direction_ends_alone() -> None:
    session = server()
    session.receive(opening(3, 1), 0.0)
    sent(session)
    session.send(3, b"answer")
    session.finish(3)
    assert sent(session) == [(DATA, FIN, 3, b"answer")]
    assert session.receive(data(3, b"more", FIN), 0.0) == [Data(3, b"more"), StreamFinished(3), StreamClosed(3)]
    assert session.stream_count == 0


def test_a_stream_finished_by_the_peer_first_closes_when_our_fin_leaves() -> None:
    session = server()
    session.receive(opening(3, 1, flags=FIN), 0.0)
    session.finish(3)
    assert sent(session) == [(WNDINC, 0, 3, 4), (DATA, FIN, 3, b"")]
    assert session.notices == [StreamClosed(3)]


def test_reset_drops_what_is_queued() -> None:
    session = server()
    stream = session.open(PROXY)
    sent(session)
    session.send(stream, b"never")
    session.reset(stream)
    assert sent(session) == [(RST, 0, stream, ErrorCode.CANCELLED)]
    unsent = session.open(PROXY)
    session.reset(unsent)
    assert sent(session) == []


def test_fin_goes_before_rst_where_the_peer_needs_it() -> None:
    session = server()
    session.finish_before_reset = True
    stream = session.open(PROXY)
    sent(session)
    session.reset(stream)
    assert sent(session) == [(DATA, FIN, stream, b""), (RST, 0, stream, ErrorCode.CANCELLED)]


def test_abandon_needs_no_rst_once_the_peer_has_finished() -> None:
    session = server()
    session.receive(opening(3) + opening(5, flags=FIN), 0.0)
    sent(session)
    session.abandon(3)
    session.abandon(5)
    fin = [(DATA, FIN, 3, b""), (RST, 0, 3, ErrorCode.CANCELLED), (DATA, FIN, 5, b"")]
    assert sent(session) == fin
    assert session.stream_count == 0


def test_data_for_no_stream_is_reset_but_a_late_fin_is_not() -> None:
    session = server()
    assert session.receive(data(9, b"x") + data(9, b"", FIN) + window_frame(9, 1) + reset_frame(9, 1), 0.0) == []
    assert sent(session) == [(RST, 0, 9, ErrorCode.STREAM_CLOSED)]


def test_data_after_fin_resets_the_stream() -> None:
    session = server()
    events = session.receive(opening(3, flags=FIN) + data(3, b"x"), 0.0)
    assert events[-1] == StreamReset(3, ErrorCode.STREAM_CLOSED, by_peer=False)


def test_a_reset_of_the_peer_is_told_once() -> None:
    session = server()
    session.receive(opening(3), 0.0)
    assert session.receive(reset_frame(3, 7) * 2, 0.0) == [StreamReset(3, 7, by_peer=True)]


def test_calls_about_a_stream_that_is_gone_do_nothing() -> None:
    session = server()
    assert session.send(8, b"x") == 0
    session.finish(8)
    session.reset(8)
    session.abandon(8)
    session.credit(8, 5)
    assert sent(session) == []


def test_go_away_ends_both_sides() -> None:
    ours, theirs = server(), Session(client=True, now=0.0)
    ours.go_away(ErrorCode.NONE, "bye")
    assert theirs.receive(b"".join(ours.data_to_send(0.0)), 0.0) == [GoAway(0, "bye")]
    assert theirs.closed
    assert ours.next_timeout() is None
    assert ours.handle_timeout(99.0) == []


# Flow control.


def test_more_than_the_window_resets_that_stream_alone() -> None:
    session = server()
    session.receive(opening(3) + opening(5), 0.0)
    chunk = bytes(NARROW.frame)
    events = session.receive(data(3, chunk) * 9 + data(5, b"still here"), 0.0)
    assert StreamReset(3, ErrorCode.FLOW_CONTROL, by_peer=False) in events
    assert events[-1] == Data(5, b"still here")
    assert sum(len(event.data) for event in events if isinstance(event, Data) and event.stream == 3) == NARROW.window
    assert (RST, 0, 3, ErrorCode.FLOW_CONTROL) in sent(session)


def test_credit_is_batched_unless_it_is_asked_for() -> None:
    session = server()
    session.receive(opening(3, first=bytes(1000)), 0.0)
    sent(session)
    session.credit(3, 600)
    assert sent(session) == []
    session.credit(3, 400, at_once=True)
    assert sent(session) == [(WNDINC, 0, 3, 1000)]
    session.credit(3, 400, at_once=True)  # more than ever came
    assert sent(session) == []


def test_streams_take_turns_in_frames_of_32_kib() -> None:
    session = server()
    for _ in range(2):
        session.send(session.open(PROXY), bytes(100_000))
    order = [(stream, len(payload)) for _, _, stream, payload in sent(session)]  # type: ignore[arg-type]
    assert [stream for stream, _ in order] == [2, 4] * 4
    assert max(size for _, size in order) == NARROW.frame


def test_a_writer_is_told_when_it_may_go_on() -> None:
    session = server()
    stream = session.open(PROXY)
    assert session.send(stream, bytes(NARROW.window + 50_000)) > NARROW.window
    sent(session)
    assert session.queued(stream) == 50_004
    assert session.notices == []
    session.receive(window_frame(stream, 50_004), 0.0)
    sent(session)
    assert session.notices == [StreamDrained(stream)]


def test_a_window_never_grows_beyond_256_kib() -> None:
    session = server()
    stream = session.open(PROXY)
    session.receive(window_frame(stream, 0xFFFFFFFF), 0.0)
    assert session.windows(stream) == (NARROW.window, NARROW.window)


def test_a_peer_that_makes_answers_and_does_not_read_them_is_ended() -> None:
    session = server()
    events: list[Event] = []
    for _ in range(MAX_CONTROL_FRAMES // 1000 + 1):
        events += session.receive((data(9, b"x") + data(11, b"x")) * 500, 0.0)
    (failure,) = events
    assert isinstance(failure, SessionFailed)
    assert failure.code == ErrorCode.CALM
    assert len(sent(session)) == 1


# The answer that carries an ACK.


def test_each_batch_is_answered_at_once_where_the_peer_holds_back() -> None:
    session = server()
    stream = session.open(PROXY)
    sent(session)
    session.prompt_ack = True
    session.receive(window_frame(stream, 4), 0.0)
    (frame,) = sent(session)
    assert frame == (DATA, FIN, 0x7FFFFFFE, b"")
    assert sent(session) == []
    session.receive(data(stream, b"abc"), 0.0)
    session.credit(stream, 3)
    assert sent(session) == [(WNDINC, 0, stream, 3)]
    session.receive(data(stream, b"abc"), 0.0)
    session.send(stream, b"answer")
    assert len(sent(session)) == 1


def test_two_such_sides_do_not_answer_each_other_for_ever() -> None:
    ours, theirs = server(), Session(client=True, now=0.0)
    ours.prompt_ack = theirs.prompt_ack = True
    ours.open(PROXY, b"hi")
    for _ in range(10):
        theirs.receive(b"".join(ours.data_to_send(0.0)), 0.0)
        ours.receive(b"".join(theirs.data_to_send(0.0)), 0.0)
    assert ours.data_to_send(0.0) == theirs.data_to_send(0.0) == []


# Heartbeats and silence.


def test_every_nonce_is_echoed_in_any_split() -> None:
    session = server()
    session.receive(opening(3, HEARTBEAT, b"abc"), 0.0)
    assert sent(session) == [(WNDINC, 0, 3, 4)]
    assert session.receive(data(3, b"d1234"), 0.0) == []
    assert sent(session) == [(DATA, 0, 3, b"abcd1234")]
    session.receive(data(3, b"", FIN), 0.0)
    assert sent(session) == [(DATA, FIN, 3, b"")]


def test_own_beats_measure_the_latency_and_go_on() -> None:
    ours, theirs = server(), Session(client=True, now=0.0)
    ours.start_heartbeat(10.0, 15.0, 0.0, expect_beats=False)
    theirs.receive(b"".join(ours.data_to_send(0.0)), 0.0)
    assert ours.receive(b"".join(theirs.data_to_send(0.0)), 0.25) == [HeartbeatEchoed(0.25)]
    assert ours.latency == 0.25
    assert ours.next_timeout() == 10.0
    assert ours.handle_timeout(10.0) == []
    ((kind, flags, stream, nonce),) = sent(ours, 10.0)
    assert (kind, flags, stream, len(nonce)) == (DATA, 0, 2, 4)  # type: ignore[arg-type]


def test_a_full_session_beats_all_the_same() -> None:
    session = server(max_own_streams=1)
    session.open(PROXY)
    session.start_heartbeat(10.0, 15.0, 0.0)
    assert session.stream_count == 2


def test_a_session_without_ids_left_ends_itself() -> None:
    session = server()
    session._next_stream = 0x7FFFFFFE
    assert not session.can_open
    with pytest.raises(PorticoError) as caught:
        session.open(PROXY)
    assert caught.value.code is SESSION_CLOSED
    ((kind, _, _, value),) = sent(session)
    assert (kind, value[1]) == (GOAWAY, ErrorCode.STREAMS_EXHAUSTED)  # type: ignore[index]


def test_a_missing_echo_loses_the_peer() -> None:
    session = server()
    session.start_heartbeat(10.0, 15.0, 0.0, expect_beats=False)
    sent(session)
    session.receive(opening(3, HEARTBEAT, b"abcd"), 1.0)
    assert session.next_timeout() == 25.0
    assert session.handle_timeout(24.9) == []
    (lost,) = session.handle_timeout(25.0)
    assert isinstance(lost, PeerLost)
    assert "echo" in lost.reason
    assert session.closed


def test_a_peer_that_does_not_beat_is_lost_where_it_should() -> None:
    ours, theirs = server(), Session(client=True, now=0.0)
    ours.start_heartbeat(10.0, 15.0, 0.0)
    for now in (0.0, 10.0, 20.0):
        ours.handle_timeout(now)
        theirs.receive(b"".join(ours.data_to_send(now)), now)
        ours.receive(b"".join(theirs.data_to_send(now)), now)
    (lost,) = ours.handle_timeout(25.0)
    assert isinstance(lost, PeerLost)
    assert "no heartbeat" in lost.reason


def test_a_heartbeat_stream_that_the_peer_drops_is_opened_again() -> None:
    session = server()
    session.start_heartbeat(10.0, 15.0, 0.0, expect_beats=False)
    ((_, _, stream, payload),) = sent(session)
    nonce = payload[4:]  # type: ignore[index]
    session.receive(data(stream, nonce, FIN), 0.1)
    assert sent(session) == [(RST, 0, stream, ErrorCode.PROTOCOL)]
    session.handle_timeout(10.0)
    assert [frame[:3] for frame in sent(session, 10.0)] == [(DATA, SYN, stream + 2)]


def test_silence_after_a_syn_is_told() -> None:
    session = server()
    session.open(PROXY)
    assert session.next_timeout() is None
    sent(session, 5.0)
    assert session.next_timeout() == 7.0
    assert session.handle_timeout(7.5) == [PeerUnresponsive(2.5)]
    assert session.next_timeout() is None


def test_any_sign_of_life_will_do() -> None:
    session = server()
    stream = session.open(PROXY)
    sent(session, 5.0)
    session.receive(window_frame(stream, 4), 5.1)
    assert session.next_timeout() is None


def test_a_peer_that_floods_nonces_and_reads_no_echo_is_ended() -> None:
    session = server()
    session.receive(opening(3, HEARTBEAT), 0.0)
    events: list[Event] = []
    for _ in range(400):
        events += session.receive(data(3, b"abcd" * 1000), 0.0)
    assert [type(event) for event in events] == [SessionFailed]


# Any bytes.

kinds = st.sampled_from([0, 1, PROXY, HEARTBEAT])
ids = st.integers(1, 12)
valid_frames = st.one_of(
    st.builds(opening, ids, kinds, st.binary(max_size=40), st.sampled_from([0, FIN])),
    st.builds(data, ids, st.binary(max_size=40), st.sampled_from([0, 0, FIN])),
    st.builds(window_frame, ids, st.integers(1, 1000)),
    st.builds(reset_frame, ids, st.integers(0, 15)),
    st.builds(go_away_frame, ids, st.integers(0, 15), st.binary(max_size=30)),
)


def replay(chunks: list[bytes]) -> tuple[list[Event], bytes]:
    session = server(max_peer_streams=3)
    events: list[Event] = []
    for chunk in chunks:
        events += session.receive(chunk, 0.0)
    return joined(events), b"".join(session.data_to_send(0.0))


@given(st.lists(valid_frames, max_size=15).map(b"".join), st.lists(st.integers(0, 2000)))
def test_any_split_gives_the_same_events_and_answers(wire: bytes, places: list[int]) -> None:
    edges = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    chunks = [wire[start:end] for start, end in itertools.pairwise(edges)]
    (events, answers), (whole_events, whole_answers) = replay(chunks), replay([wire])
    assert events == whole_events
    # Frames for a stream that is gone get one RST where they come together.
    assert [*dict.fromkeys(FrameReader().frames(answers))] == [*dict.fromkeys(FrameReader().frames(whole_answers))]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=100), valid_frames), max_size=30))
def test_garbage_never_raises(chunks: list[bytes]) -> None:
    session = server(max_peer_streams=3)
    for chunk in chunks:
        session.receive(chunk, 0.0)
        assert session.peer_streams <= 3
        session.data_to_send(0.0)


def test_a_flow_agreed_on_later_is_that_of_later_streams() -> None:
    session = server()
    session.receive(opening(3), 0.0)
    session.flow = WIDE
    session.receive(opening(5), 0.0)
    assert session.windows(3) == (NARROW.window, NARROW.window)
    assert session.windows(5) == (WIDE.window, WIDE.window)
    sent(session)
    session.send(5, bytes(WIDE.window + 1))
    buffers = list(itertools.chain.from_iterable(iter(lambda: session.data_to_send(0.0), [])))
    assert max(map(len, buffers)) == WIDE.frame
    ((kind, _, stream, payload),) = FrameReader().frames(b"".join(buffers))
    assert (kind, stream, payload) == (DATA, 5, bytes(WIDE.window))


def wide_server(latency: float) -> Session:
    """A session with wide streams whose heartbeat has just been echoed after `latency` seconds."""
    session = server()
    session.flow = WIDE
    session.start_heartbeat(10, 15, 0.0)
    (nonce,) = [value[4:] for kind, _, _, value in sent(session) if kind == DATA]  # type: ignore[index]
    assert isinstance(nonce, bytes)
    session.receive(data(2, nonce), latency)
    return session


def fill(session: Session, stream: int, seconds: float, start: float) -> int:
    """The peer sends a window in four parts within `seconds`, each consumed at once; the credit that it gets."""
    quarter = WIDE.window // 4
    for part in range(4):
        session.receive(data(stream, bytes(quarter)), start + seconds * part / 4)
        session.credit(stream, quarter)
    return sum(value for kind, _, number, value in sent(session) if (kind, number) == (WNDINC, stream))  # type: ignore[misc]


def test_a_stream_that_its_window_holds_up_is_widened_up_to_the_widest() -> None:
    session, credit, start = wide_server(0.04), 0, 1.0
    session.receive(opening(3), start)
    for _ in range(40):
        credit += fill(session, 3, 0.01, start)
        start += 0.01
    windows = session.windows(3)
    assert windows is not None
    assert WIDE.widest - WIDE.widest // 4 <= windows[1] <= WIDE.widest
    assert credit > 40 * WIDE.window


@pytest.mark.parametrize(("latency", "seconds"), [(0.04, 0.2), (0.0005, 0.01)])
def test_a_stream_as_quick_as_its_peer_sends_stays_as_it_is(latency: float, seconds: float) -> None:
    session, start = wide_server(latency), 1.0
    session.receive(opening(3), start)
    for _ in range(10):
        fill(session, 3, seconds, start)
        start += seconds
    windows = session.windows(3)
    assert windows is not None
    assert windows[1] <= WIDE.window


def test_all_streams_together_are_widened_by_so_much_and_an_end_makes_room() -> None:
    session, start = wide_server(0.04), 1.0
    streams = range(3, 23, 2)
    for stream in streams:
        session.receive(opening(stream), start)
        for _ in range(20):
            fill(session, stream, 0.001, start)
            start += 0.001
    extra = sum(max(0, window[1] - WIDE.window) for window in map(session.windows, streams) if window)
    assert WIDENED // 2 < extra <= WIDENED
    for stream in streams:
        session.reset(stream)
    assert session._widened == 0
