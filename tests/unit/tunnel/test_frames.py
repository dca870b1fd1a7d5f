import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.tunnel.flow import NARROW
from portico.tunnel.frames import (
    CONTINUED,
    DATA,
    FIN,
    GOAWAY,
    MAX_STREAM_ID,
    RST,
    SYN,
    WNDINC,
    ErrorCode,
    Frame,
    FrameReader,
    ProtocolError,
    data_header,
    go_away_frame,
    reset_frame,
    window_frame,
)

streams = st.integers(1, MAX_STREAM_ID)
numbers = st.integers(0, 0xFFFFFFFF)
data_frames = st.builds(
    lambda stream, payload, flags: data_header(stream, len(payload), flags) + payload,
    streams,
    st.binary(max_size=200),
    st.integers(0, 3),
)
frames = st.one_of(data_frames, st.builds(reset_frame, streams, numbers), st.builds(window_frame, streams, numbers))


def read(reader: FrameReader, chunks: list[bytes]) -> list[Frame]:
    """All frames, with what follows without a gap on one stream put together again."""
    whole: list[Frame] = []
    for kind, flags, stream, value in itertools.chain.from_iterable(map(reader.frames, chunks)):
        before = whole[-1] if whole else (RST, 0, 0, 0)
        goes_on = kind == DATA == before[0] and stream == before[2] and not flags & SYN and not before[1] & FIN
        if flags & CONTINUED or goes_on:
            _, earlier, _, start = whole.pop()
            assert isinstance(start, bytes)
            assert isinstance(value, bytes)
            whole.append((kind, earlier | flags & ~CONTINUED, stream, start + value))
        else:
            whole.append((kind, flags, stream, value))
    return whole


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_the_layout_is_that_of_the_wire() -> None:
    assert data_header(3, 5, SYN | FIN) == bytes.fromhex("000005 13 00000003")
    assert reset_frame(2, ErrorCode.CANCELLED) == bytes.fromhex("000004 00 00000002 00000006")
    assert window_frame(2, 4) == bytes.fromhex("000004 20 00000002 00000004")
    assert go_away_frame(3, 1, b"no") == bytes.fromhex("00000a 30 00000000 00000003 00000001") + b"no"


@given(st.lists(frames, max_size=12).map(b"".join), st.lists(st.integers(0, 10_000)))
def test_any_split_gives_the_same_frames(data: bytes, places: list[int]) -> None:
    assert read(FrameReader(), cut(data, places)) == read(FrameReader(), [data])


@given(st.lists(frames, max_size=6).map(b"".join))
def test_memoryviews_and_single_bytes_are_read_as_well(data: bytes) -> None:
    whole = read(FrameReader(), [data])
    assert read(FrameReader(), [memoryview(bytearray(data))]) == whole  # type: ignore[list-item]
    assert read(FrameReader(), [bytes([byte]) for byte in data]) == whole


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_garbage_is_a_protocol_error_and_nothing_piles_up(chunks: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for chunk in chunks:
            for _ in reader.frames(chunk):
                assert len(reader._head) <= 8 + 1024
    except ProtocolError as error:
        assert error.code in list(ErrorCode)


def test_a_payload_is_passed_on_in_the_pieces_that_arrive() -> None:
    reader = FrameReader()
    pieces = [*reader.frames(data_header(5, 6, SYN | FIN)), *reader.frames(b"ab"), *reader.frames(b"cdef")]
    assert pieces == [(DATA, SYN, 5, b"ab"), (DATA, FIN | CONTINUED, 5, b"cdef")]


def test_frames_that_follow_each_other_on_a_stream_come_as_one() -> None:
    def data(stream: int, flags: int, payload: bytes) -> bytes:
        return data_header(stream, len(payload), flags) + payload

    reader = FrameReader()
    first = data(5, SYN, b"ab") + data(5, 0, b"cd") + data(7, 0, b"x") + data(5, 0, b"efgh")[:-2]
    rest = b"gh" + data(5, FIN, b"i") + data(5, 0, b"late") + window_frame(5, 1) + data(5, 0, b"later")
    assert list(reader.frames(first)) == [(DATA, SYN, 5, b"abcd"), (DATA, 0, 7, b"x"), (DATA, 0, 5, b"ef")]
    assert list(reader.frames(memoryview(rest))) == [
        (DATA, FIN | CONTINUED, 5, b"ghi"),
        (DATA, 0, 5, b"late"),
        (WNDINC, 0, 5, 1),
        (DATA, 0, 5, b"later"),
    ]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("000004 40 00000002", ErrorCode.PROTOCOL),  # unknown type
        ("000005 00 00000002", ErrorCode.FRAME_SIZE),
        ("000003 20 00000002", ErrorCode.FRAME_SIZE),
        ("000004 00 00000000 00000001", ErrorCode.PROTOCOL),  # RST of no stream
        ("000001 10 00000000", ErrorCode.PROTOCOL),
        ("100001 10 00000002", ErrorCode.FRAME_SIZE),  # larger than any window
    ],
)
def test_what_no_frame_can_be_is_refused(header: str, code: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(FrameReader().frames(bytes.fromhex(header)))
    assert caught.value.code == code


def test_frames_before_the_garbage_still_count() -> None:
    frames = FrameReader().frames(reset_frame(2, 1) + b"\xff" * 8)
    assert next(frames) == (RST, 0, 2, 1)
    with pytest.raises(ProtocolError):
        next(frames)


def test_a_go_away_of_rust_with_its_short_length_ends_the_reading() -> None:
    message = b"the session is over"
    wire = bytearray(go_away_frame(9, 3, message))
    wire[:3] = len(message).to_bytes(3, "big")  # 8 too small
    reader = FrameReader()
    (frame,) = read(reader, [bytes(wire) + window_frame(2, 1)])
    assert frame == (GOAWAY, 0, 0, (9, 3, message[:-8]))
    assert read(reader, [window_frame(2, 1)]) == []


def test_the_largest_window_is_a_frame() -> None:
    (frame,) = read(FrameReader(), [data_header(2, NARROW.window, 0), bytes(NARROW.window)])
    assert frame == (DATA, 0, 2, bytes(NARROW.window))
    assert read(FrameReader(), [window_frame(2, 7)]) == [(WNDINC, 0, 2, 7)]
