"""Reads one JSON object from a stream whose end is not told: SDKs finish only when they have the answer."""

import re
from typing import Final

import msgspec

from portico.tunnel.frames import ErrorCode, ProtocolError

MAX_JSON: Final = 1 << 20
"""Bytes of the largest object that is read; a Bind may carry chains of certificates."""
MAX_DEPTH: Final = 64

_MARK: Final = re.compile(rb'[{}"]')
_STRING_MARK: Final = re.compile(rb'["\\]')


def parse_object(data: bytes | bytearray | memoryview) -> dict[str, object]:
    """The JSON object that `data` is. Raises ProtocolError."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The text is left out: it may hold a token or a key.
        raise ProtocolError(ErrorCode.PROTOCOL, "the message is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError(ErrorCode.PROTOCOL, "the message is not a JSON object")
    return value


class JsonReader:
    """Finds the end of the object by its braces, looking at each byte once; what follows the object is `rest`."""

    __slots__ = ("_buffer", "_depth", "_in_string", "_limit", "_pos", "rest")

    def __init__(self, limit: int = MAX_JSON) -> None:
        self.rest = b""
        """What came after the object."""
        self._limit = limit
        self._buffer = bytearray()
        self._pos = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> dict[str, object] | None:
        """Take bytes; returns the object once it is whole. Raises ProtocolError: none, too long, too deep."""
        self._buffer += data
        if self._depth == 0 and not self._begin():
            return None
        end = self._end()
        if (end or len(self._buffer)) > self._limit:
            raise ProtocolError(ErrorCode.PROTOCOL, f"the message is larger than {self._limit} bytes")
        if end is None:
            return None
        self.rest = bytes(self._buffer[end:])
        return parse_object(self._buffer[:end])

    def _begin(self) -> bool:
        stripped = self._buffer.lstrip(b" \t\r\n")
        if not stripped:
            self._buffer.clear()
            return False
        if stripped[0] != ord("{"):
            raise ProtocolError(ErrorCode.PROTOCOL, "the message is not a JSON object")
        self._buffer = stripped
        self._pos = self._depth = 1
        return True

    def _end(self) -> int | None:
        buffer, pos = self._buffer, self._pos
        while found := (_STRING_MARK if self._in_string else _MARK).search(buffer, pos):
            pos = found.end()
            mark = buffer[pos - 1]
            if mark == ord("\\"):
                if pos == len(buffer):  # what is escaped has not come yet
                    self._pos = pos - 1
                    return None
                pos += 1
            elif mark == ord('"'):
                self._in_string = not self._in_string
            else:
                self._depth += 1 if mark == ord("{") else -1
                if self._depth > MAX_DEPTH:
                    raise ProtocolError(ErrorCode.PROTOCOL, "the message is nested too deeply")
                if self._depth == 0:
                    return pos
        self._pos = len(buffer)
        return None
