"""Muxado frames: their layout, how one is written, and a reader that takes bytes in any split.

    len u24 | type u4, flags u4 | stream id u32 (31 bits used) | payload        all big-endian

Layout and codes: the muxado protocol as ngrok's SDKs speak it (muxado-go b295f96, the Rust crate muxado 0.4 and 0.5).
"""

import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import Final

MAX_FRAME: Final = 0x100000
"""Bytes of the largest DATA frame that is read: no window that we agree on is larger."""
MAX_STREAM_ID: Final = 0x7FFFFFFF
MAX_GO_AWAY: Final = 1024
"""Bytes of a GOAWAY's payload that are waited for."""

HEADER: Final = struct.Struct(">II")
HEADER_SIZE: Final = 8
_WITH_VALUE: Final = struct.Struct(">III")
_TWO_VALUES: Final = struct.Struct(">II")


class FrameType(IntEnum):
    """What a frame is."""

    RST = 0
    DATA = 1
    WNDINC = 2
    GOAWAY = 3


class Flags(IntFlag):
    """Flags of DATA frames; CONTINUED never travels, the reader sets it on all but the first piece of a frame."""

    FIN = 1
    SYN = 2
    CONTINUED = 0x10


class ErrorCode(IntEnum):
    """Why a stream was reset or a session ended."""

    NONE = 0
    PROTOCOL = 1
    INTERNAL = 2
    FLOW_CONTROL = 3
    STREAM_CLOSED = 4
    REFUSED = 5
    CANCELLED = 6
    RESET = 7
    FRAME_SIZE = 8
    ACCEPT_QUEUE_FULL = 9
    CALM = 10
    REMOTE_GONE_AWAY = 11
    STREAMS_EXHAUSTED = 12
    WRITE_TIMEOUT = 13
    SESSION_CLOSED = 14
    PEER_EOF = 15


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; `code` is the muxado code that tells it so."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# Plain ints for the hot path: an enum member costs an attribute look-up at each use.
RST: Final = int(FrameType.RST)
DATA: Final = int(FrameType.DATA)
WNDINC: Final = int(FrameType.WNDINC)
GOAWAY: Final = int(FrameType.GOAWAY)
FIN: Final = int(Flags.FIN)
SYN: Final = int(Flags.SYN)
CONTINUED: Final = int(Flags.CONTINUED)
_DATA_BITS: Final = DATA << 4

GoAwayPayload = tuple[int, int, bytes]
Frame = tuple[int, int, int, "bytes | int | GoAwayPayload"]
"""(type, flags, stream id, value): bytes of DATA, the number of RST and WNDINC, (last stream, code, text) of GOAWAY."""

pack_header: Final = HEADER.pack


def data_header(stream: int, length: int, flags: int) -> bytes:
    """The 8 bytes before `length` bytes of DATA."""
    return pack_header(length << 8 | _DATA_BITS | flags, stream)


def reset_frame(stream: int, code: int) -> bytes:
    """A whole RST."""
    return _WITH_VALUE.pack(4 << 8 | RST << 4, stream, code)


def window_frame(stream: int, increment: int) -> bytes:
    """A whole WNDINC; Go ends the session on an increment of 0."""
    return _WITH_VALUE.pack(4 << 8 | WNDINC << 4, stream, increment)


def go_away_frame(last_stream: int, code: int, message: bytes) -> bytes:
    """A whole GOAWAY."""
    text = message[: MAX_GO_AWAY - 8]
    return HEADER.pack((8 + len(text)) << 8 | GOAWAY << 4, 0) + _TWO_VALUES.pack(last_stream, code) + text


class FrameReader:
    """Turns bytes into frames without waiting for whole DATA frames: a payload is passed on in the pieces that arrive.

    SYN is on the first piece of a frame, FIN on the last, CONTINUED on all but the first. What follows without a gap on
    one stream comes as one piece: whoever passes it on has one write for it. What is kept between two
    calls is at most one header or one control frame. After a GOAWAY nothing more is read: that of the Rust SDKs gives
    a length that is 8 too small.
    """

    __slots__ = ("_flags", "_head", "_left", "_stopped", "_stream")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._flags = 0
        self._stream = 0
        self._stopped = False

    def frames(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Yield the frames in `data`; must be read to its end or the reader be given up. Raises ProtocolError."""
        pos, end = 0, len(data)
        run: list[bytes | memoryview] = []
        run_stream = run_flags = 0
        while pos < end and not self._stopped:
            if not self._left and not self._head and end - pos >= HEADER_SIZE:
                pos += self._enter(data, pos)
                if pos == end:
                    break
            if self._left:
                size = self._left if self._left < end - pos else end - pos
                flags = self._take(size)
                if run and run_stream == self._stream and not flags & SYN and not run_flags & FIN:
                    run_flags |= flags & FIN
                else:
                    if run:
                        yield DATA, run_flags, run_stream, b"".join(run)
                    run, run_stream, run_flags = [], self._stream, flags
                run.append(data[pos : pos + size])
                pos += size
                continue
            if run:
                yield DATA, run_flags, run_stream, b"".join(run)
                run = []
            taken, frame = self._read_head(data, pos, end)
            pos += taken
            if frame is not None:
                yield frame
        if run:
            yield DATA, run_flags, run_stream, b"".join(run)

    def _enter(self, data: bytes | memoryview, pos: int) -> int:
        """Begin a usual DATA frame whose header is at `pos`; returns the header's size, or 0 for all other frames."""
        word, stream = HEADER.unpack_from(data, pos)
        size = word >> 8
        if word & 0xF0 != _DATA_BITS or not 0 < size <= MAX_FRAME or not 0 < stream <= MAX_STREAM_ID:
            return 0
        self._left, self._flags, self._stream = size, word & 0x0F, stream
        return HEADER_SIZE

    def _take(self, size: int) -> int:
        """Go on by `size` bytes of the frame; returns the flags of that piece."""
        self._left -= size
        flags = self._flags if not self._left else self._flags & ~FIN
        self._flags = self._flags & ~SYN | CONTINUED
        return flags

    def _read_head(self, data: bytes | memoryview, pos: int, end: int) -> tuple[int, Frame | None]:
        """Go on with a head that is not complete; returns how many bytes it took, and the frame that is all there."""
        start = pos
        while pos < end and (missing := _head_size(self._head) - len(self._head)):
            taken = min(missing, end - pos)
            self._head += bytes(data[pos : pos + taken])
            pos += taken
        whole = len(self._head) >= HEADER_SIZE and len(self._head) == _head_size(self._head)
        return pos - start, self._open_frame() if whole else None

    def _open_frame(self) -> Frame | None:
        """Begin the frame whose head is complete; None where its bytes are still to come."""
        head, self._head = self._head, b""
        word, stream = HEADER.unpack_from(head)
        kind, length, stream = word >> 4 & 0x0F, word >> 8, stream & MAX_STREAM_ID
        if kind == GOAWAY:
            self._stopped = True
            last, code = _TWO_VALUES.unpack_from(head, HEADER_SIZE)
            return GOAWAY, 0, 0, (last, code, head[HEADER_SIZE + 8 :])
        if stream == 0:
            raise ProtocolError(ErrorCode.PROTOCOL, f"{FrameType(kind).name} without a stream")
        if kind == DATA:
            self._left, self._flags, self._stream = length, word & 0x0F, stream
            return None if length else (DATA, self._flags, stream, b"")
        (value,) = struct.unpack_from(">I", head, HEADER_SIZE)
        return kind, 0, stream, value


def _head_size(head: bytes) -> int:
    """How many bytes are needed before a frame that begins with `head` means something. Raises ProtocolError."""
    if len(head) < HEADER_SIZE:
        return HEADER_SIZE
    word: int = HEADER.unpack_from(head)[0]
    kind, length = word >> 4 & 0x0F, word >> 8
    if kind == DATA:
        if length > MAX_FRAME:
            raise ProtocolError(ErrorCode.FRAME_SIZE, f"DATA of {length} bytes is larger than any window")
        return HEADER_SIZE
    if kind == GOAWAY:
        return HEADER_SIZE + min(max(length, 8), MAX_GO_AWAY)
    if kind > GOAWAY:
        raise ProtocolError(ErrorCode.PROTOCOL, f"unknown frame type {kind}")
    if length != 4:
        raise ProtocolError(ErrorCode.FRAME_SIZE, f"{FrameType(kind).name} of {length} bytes")
    return HEADER_SIZE + 4
