"""What a visitor sent and nobody has answered yet, and whether it may be sent again."""

import re
from typing import Final

KEEP_BYTES: Final = 0x10000
"""What is kept to be sent again on another stream. A refusal comes within a round trip, when little has been sent."""
HEAD_BYTES: Final = 16_384
"""How much of a request's beginning is kept for the page that may answer it."""
UNKNOWN: Final = -1

_SAFE: Final = (b"GET ", b"HEAD ", b"OPTIONS ", b"TRACE ")
"""Methods without an effect (RFC 9110, 9.2.1). PUT and DELETE are idempotent too, but where the first one did have its
effect, a second one's answer (404, or 412 after `If-Match`) calls a success a failure; so does Go's net/http."""
_FRAMING: Final = re.compile(rb"\n(content-length|transfer-encoding|upgrade):[ \t]*([^\r]*)", re.IGNORECASE)
_LENGTH_DIGITS: Final = 18


class Unanswered:
    """Bytes of one visitor since the last answer began. Holds nothing while the visitor is at rest."""

    __slots__ = ("_pieces", "_size", "head", "rest")

    def __init__(self) -> None:
        self._pieces: list[bytes] | None = None
        self._size = 0
        self.head = b""
        """Where the request begins; empty once there is an answer."""
        self.rest = UNKNOWN
        """Bytes that the body of the present HTTP/1.1 request still has. With 0, what comes next is a new request.

        UNKNOWN for ever where that cannot be told without reading on (chunks, upgrades, other protocols): a body's
        bytes taken for a request would let a visitor speak to the upstream past all that Envoy checks.
        """

    def begin(self, data: bytes, *, http1: bool) -> None:
        """A request begins with `data`, or a connection of another protocol."""
        self._pieces = [data]
        self._size = len(data)
        self.head = data[:HEAD_BYTES]
        self.rest = body_rest(data) if http1 else UNKNOWN

    def add(self, data: bytes) -> None:
        """More came, of whatever is under way."""
        size = len(data)
        if self.rest >= 0:
            self.rest = max(self.rest - size, UNKNOWN)
        if self._pieces is not None:
            self._size += size
            if self._size > KEEP_BYTES:
                self._pieces = None
            else:
                self._pieces.append(data)

    def answered(self) -> None:
        """An answer has begun: nothing will be sent again, no page will be shown."""
        self._pieces = None
        self.head = b""

    @property
    def kept(self) -> bytes:
        """All of it, where it `is_whole`."""
        return b"".join(self._pieces or ())

    @property
    def is_whole(self) -> bool:
        """Whether all of it is kept."""
        return self._pieces is not None

    @property
    def repeatable(self) -> bool:
        """Whether it is one request that may arrive twice, all of which is kept (RFC 9110, 9.2.2)."""
        return self._pieces is not None and self._size <= KEEP_BYTES and self.rest >= 0 and self.head.startswith(_SAFE)


def body_rest(data: bytes) -> int:
    """How many bytes of body follow `data`, with which an HTTP/1.1 request begins; UNKNOWN where it is not plain."""
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return UNKNOWN
    found = _FRAMING.findall(data, 0, end)
    if not found:
        length = UNKNOWN if data.startswith(b"CONNECT ") else 0
    elif len(found) > 1 or found[0][0][:1] not in b"cC":
        length = UNKNOWN
    else:
        digits = found[0][1].strip(b" \t")
        length = int(digits) if digits.isdigit() and len(digits) <= _LENGTH_DIGITS else UNKNOWN
    return max(length - (len(data) - end), UNKNOWN)
