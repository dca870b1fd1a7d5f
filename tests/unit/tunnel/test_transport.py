import asyncio
import hashlib
import logging
import random
import socket
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.tunnel_pair import Pair, Recorder
from portico.model.errors import SESSION_CLOSED, PorticoError
from portico.tunnel.events import HeartbeatEchoed
from portico.tunnel.flow import NARROW, WIDE
from portico.tunnel.frames import HEADER_SIZE, ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.transport import RECORD, SessionProtocol, Stream, tls_records

PairMaker = Callable[[], Pair]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def send_all(stream: Stream, recorder: Recorder, data: bytes) -> None:
    for start in range(0, len(data), 50_000):
        await recorder.writable.wait()
        stream.write(data[start : start + 50_000])
    stream.write_eof()


async def test_bytes_are_exact_in_both_directions_at_once(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    ours, our_end, theirs, their_end = await pair.streams()
    down, up = random.Random(1).randbytes(8 << 20), random.Random(2).randbytes(8 << 20)
    await asyncio.gather(send_all(ours, our_end, down), send_all(theirs, their_end, up))
    assert await asyncio.gather(our_end.lost, their_end.lost) == [None, None]
    assert hashlib.sha256(their_end.data).digest() == hashlib.sha256(down).digest()
    assert hashlib.sha256(our_end.data).digest() == hashlib.sha256(up).digest()
    assert pair.relay.streams == pair.agent.streams == {}


async def test_a_paused_reader_stops_its_own_stream_alone(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    stalled, stalled_end, far, far_end = await pair.streams()
    far.pause_reading()
    for _ in range(100):
        if not stalled_end.writable.is_set():
            break
        stalled.write(bytes(32_768))
        await asyncio.sleep(0)
    await until(lambda: len(far_end.data) == NARROW.window)
    other, other_end, _, other_far_end = await pair.streams()
    await send_all(other, other_end, bytes(4 << 20))
    await until(other_far_end.eof.is_set)
    assert len(other_far_end.data) == 4 << 20
    assert len(far_end.data) <= NARROW.window
    assert stalled.queued <= NARROW.crowded + 32_768
    before = len(far_end.data) + stalled.queued
    far.resume_reading()
    await until(stalled_end.writable.is_set)
    await until(lambda: len(far_end.data) == before)


async def test_each_direction_ends_alone(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    ours, our_end, theirs, their_end = await pair.streams()
    ours.write(b"question")
    ours.write_eof()
    await until(their_end.eof.is_set)
    assert their_end.data == b"question"
    assert not our_end.eof.is_set()
    theirs.write(b"answer")
    theirs.write_eof()
    assert await our_end.lost is None
    assert our_end.data == b"answer"
    assert await their_end.lost is None


async def test_a_reset_is_told_to_both_ends_once(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    ours, our_end, theirs, their_end = await pair.streams()
    ours.reset(ErrorCode.CANCELLED)
    assert await our_end.lost == ErrorCode.CANCELLED
    assert await their_end.lost == ErrorCode.CANCELLED
    for stream in (ours, theirs):
        stream.write(b"late")
        stream.write_eof()
        stream.resume_reading()
        stream.reset()
        stream.abandon()


async def test_an_abandoned_stream_wakes_the_peer_with_an_end(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    ours, _, _, their_end = await pair.streams()
    ours.abandon()
    assert await their_end.lost == ErrorCode.CANCELLED
    assert their_end.eof.is_set()


async def test_a_stream_nobody_wants_is_refused(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    recorder = Recorder()
    pair.relay.open(99, recorder)
    assert await recorder.lost == ErrorCode.REFUSED


class Broken(StreamHandler):
    def data_received(self, data: bytes) -> None:
        raise ZeroDivisionError

    def connection_lost(self, code: int | None) -> None:
        raise ZeroDivisionError


async def test_a_handler_that_fails_costs_its_stream_alone(
    make_pair: PairMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda _: Broken()
    recorder = Recorder()
    pair.relay.open(3, recorder, b"x")
    assert await recorder.lost == ErrorCode.INTERNAL
    ours, _, _, their_end = await pair.streams()
    ours.write(b"still here")
    await until(lambda: their_end.data == b"still here")


async def test_heartbeats_measure_the_latency(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.relay.start_heartbeat(10, 15)
    await until(lambda: bool(pair.events))
    assert isinstance(pair.events[0], HeartbeatEchoed)
    assert pair.relay.session.latency == pair.events[0].latency


async def test_an_echo_that_owes_nothing_lets_the_next_beat_leave_in_time(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.relay.start_heartbeat(0.02, 3600, expect_beats=False)
    await until(lambda: len(pair.events) >= 3)


async def test_a_peer_without_echo_is_dropped(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    assert pair.agent._transport is not None
    cast("asyncio.Transport", pair.agent._transport).pause_reading()
    pair.relay.start_heartbeat(0.05, 0.05, expect_beats=False)
    assert "no echo" in await pair.ends["relay"]


async def test_the_end_of_a_session_ends_its_streams(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    _, our_end, _, their_end = await pair.streams()
    pair.relay.close(ErrorCode.NONE, "moving on")
    assert await pair.ends["relay"] == "moving on"
    assert "moving on" in await pair.ends["agent"]
    assert await our_end.lost == await their_end.lost == ErrorCode.SESSION_CLOSED
    assert not pair.relay.is_open
    with pytest.raises(PorticoError) as caught:
        pair.relay.open(3, StreamHandler())
    assert caught.value.code is SESSION_CLOSED


async def test_garbage_ends_the_session_with_a_reason(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.relay.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await pair.ends["relay"]
    assert "ended the session" in await pair.ends["agent"]


async def test_an_abort_needs_no_words(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.relay.abort("replaced")
    assert await pair.ends["relay"] == "replaced"
    assert await pair.ends["agent"]


class Doorkeeper(asyncio.Protocol):
    """Reads one byte before the session begins, as a relay reads a PROXY header."""

    def __init__(self, session: SessionProtocol) -> None:
        self.session = session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.set_protocol(self.session)
        self.session.connection_made(self.transport)
        self.session.receive(data[1:])


async def test_a_session_may_take_over_a_connection(make_pair: PairMaker) -> None:
    pair = make_pair()
    ours, theirs = socket.socketpair()
    pair.agent = pair.protocol("agent", client=True)
    pair.relay = pair.protocol("relay", client=False)
    loop = asyncio.get_running_loop()
    for sock, protocol in ((ours, Doorkeeper(pair.relay)), (theirs, pair.agent)):
        sock.setblocking(False)
        transport, _ = await loop.create_connection(lambda protocol=protocol: protocol, sock=sock)
    transport.write(b"x")
    ours_stream, our_end, _, their_end = await pair.streams(opener=pair.agent)
    ours_stream.write(bytes(1 << 20))
    await until(lambda: len(their_end.data) == 1 << 20)
    ours_stream.write_eof()
    await until(their_end.eof.is_set)
    assert not our_end.eof.is_set()


async def test_a_session_without_ids_left_closes_its_connection(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.relay.session._next_stream = 0x7FFFFFFE
    with pytest.raises(PorticoError):
        pair.relay.open(3, StreamHandler())
    assert await pair.ends["relay"]
    assert "used up" in await pair.ends["agent"]


async def test_a_connection_that_retires_loses_nothing_that_its_peer_has_not_read_when_it_writes(
    make_pair: PairMaker,
) -> None:
    pair = make_pair()
    await pair.start()
    _, near, theirs, far = await pair.streams()
    theirs.write_eof()
    await until(near.eof.is_set)
    reading = pair.agent._transport
    assert reading is not None
    reading.pause_reading()
    for stream in pair.relay.streams.values():
        stream.write(b"x" * 50_000)
        stream.write_eof()
    pair.relay.retire("another connection has taken over")
    await until(near.lost.done)
    await asyncio.sleep(0.05)
    pair.agent.open(3, StreamHandler())
    await asyncio.sleep(0.05)
    assert not pair.ends["agent"].done()
    reading.resume_reading()
    await until(far.lost.done)
    assert (len(far.data), await far.lost) == (50_000, None)
    assert "taken over" in await pair.ends["agent"]
    assert await pair.ends["relay"] == "another connection has taken over"


@given(st.lists(st.sampled_from([8, 12, 600, RECORD - 8, RECORD, RECORD + 1, WIDE.frame, 200_000]), max_size=8))
def test_all_tls_records_but_the_last_are_full(sizes: list[int]) -> None:
    buffers = [random.Random(size).randbytes(size) for size in sizes]
    records = tls_records([memoryview(buffer) if len(buffer) % 3 else buffer for buffer in buffers])
    assert b"".join(records) == b"".join(buffers)
    assert all(len(record) % RECORD == 0 for record in records[:-1])


def test_a_frame_fills_tls_records_with_its_header_and_is_copied_in_the_first_alone() -> None:
    header, payload = bytes(HEADER_SIZE), bytes(WIDE.frame)
    first, others = tls_records([header, payload])
    assert (len(first), len(others)) == (RECORD, 7 * RECORD)
    assert isinstance(others, memoryview)
    assert others.obj is payload
