"""Bodies that anybody can make and check at any offset, from a number alone."""

import hashlib
import random

PIECE = 0x10000
"""Bytes that are written at once."""
_BLOCK = random.Random(1).randbytes((1 << 20) + 7)
_TWICE = _BLOCK * 2


class WrongBytesError(Exception):
    """Bytes arrived that nobody sent, or in another place: the one thing that must never happen."""


class Content:
    """The endless bytes of one direction of one transfer: a block of random bytes, each number's begins elsewhere."""

    def __init__(self, number: int, direction: str) -> None:
        digest = hashlib.blake2b(f"{direction} {number}".encode(), digest_size=8).digest()
        self._start = int.from_bytes(digest, "big")

    def at(self, offset: int, size: int) -> bytes:
        """At most a block of it."""
        begin = (self._start + offset) % len(_BLOCK)
        return _TWICE[begin : begin + size]


class Check:
    """Compares what arrives, byte by byte, with what must."""

    def __init__(self, content: Content, size: int) -> None:
        self._content = content
        self.size = size
        self.received = 0

    @property
    def complete(self) -> bool:
        """Whether everything has arrived."""
        return self.received == self.size

    def feed(self, data: bytes) -> None:
        """Take some more. Raises WrongBytesError."""
        for begin in range(0, len(data), PIECE):
            piece = data[begin : begin + PIECE]
            if self.received + len(piece) > self.size:
                raise WrongBytesError(f"more than {self.size} bytes")
            if piece != self._content.at(self.received, len(piece)):
                raise WrongBytesError(f"other bytes somewhere in {self.received}…{self.received + len(piece)}")
            self.received += len(piece)
