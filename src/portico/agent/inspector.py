"""The requests that passed this agent's http endpoints, in bounded memory, for the screen and the web interface."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Final

import msgspec

log = logging.getLogger(__name__)

DEFAULT_LIMIT: Final = 50 * 1024 * 1024
"""Octets kept at most, as ngrok's `inspect_db_size`."""
BODY_LIMIT: Final = 1024 * 1024
"""Octets kept of one body."""
_ENTRY_COST: Final = 1024
"""Octets that a request is charged beyond its headers and bodies."""

Headers = list[tuple[str, str]]


# gc=False: tens of thousands are kept, none of them part of a cycle, and each collection would look at all of them.


class CapturedMessage(msgspec.Struct, gc=False):
    """A request or a response: what it began with, its headers, and as much of its body as is kept."""

    start_line: str = ""
    protocol: str = "HTTP/1.1"
    fields: bytes = b""
    """Names and values of its headers in turn, a line feed between them."""
    body: bytearray = msgspec.field(default_factory=bytearray)
    size: int = 0
    """Octets of the whole body."""

    def __repr__(self) -> str:
        return f"CapturedMessage({self.start_line!r})"  # headers and bodies hold secrets

    @property
    def headers(self) -> Headers:
        """As they came, in order."""
        texts = self.fields.decode("latin-1").split("\n")
        return list(zip(texts[::2], texts[1::2], strict=False))

    @property
    def truncated(self) -> bool:
        """Whether the body is longer than what is kept."""
        return self.size > len(self.body)

    def raw(self) -> bytes:
        """As HTTP/1.1 would write it, the body without transfer coding."""
        lines = [self.start_line, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + bytes(self.body)


class CapturedRequest(msgspec.Struct, gc=False):
    """One request with its response; it grows while bytes pass."""

    id: str
    endpoint: str
    """Name of the endpoint."""
    remote_address: str
    began: float
    """Seconds since the epoch."""
    started_at: float
    """The observer's clock, seconds."""
    method: str
    uri: str
    request: CapturedMessage
    response: CapturedMessage | None = None
    status: int | None = None
    duration: float | None = None
    """Seconds from the request's first byte to the response's last; None while it runs."""
    kept: bool = True
    """False once it was pushed out: nothing more is stored for it."""
    cost: int = _ENTRY_COST

    @property
    def start(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.began, UTC)


class Inspector:
    """A ring of captured requests, newest kept, bounded in octets."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._requests: OrderedDict[str, CapturedRequest] = OrderedDict()
        self._listeners: tuple[Callable[[CapturedRequest], None], ...] = ()
        self._numbers = count(1)
        self._total = 0

    def requests(self, limit: int | None = None, endpoint: str | None = None) -> list[CapturedRequest]:
        """The newest first."""
        found = [entry for entry in reversed(self._requests.values()) if endpoint in (None, entry.endpoint)]
        return found[:limit]

    def get(self, request_id: str) -> CapturedRequest | None:
        """The request of this id, while it is kept."""
        return self._requests.get(request_id)

    def clear(self) -> None:
        """Forget all."""
        while self._requests:
            self._forget_oldest()

    def subscribe(self, listener: Callable[[CapturedRequest], None]) -> Callable[[], None]:
        """Call `listener` when a request begins and again when it is over; returns what ends that."""
        self._listeners = (*self._listeners, listener)
        return lambda: self._unsubscribe(listener)

    def number(self) -> str:
        """The id of the next request (for observers)."""
        return f"{next(self._numbers):08x}"

    def begin(self, captured: CapturedRequest, octets: int) -> None:
        """A request begins, and has `octets` so far (for observers)."""
        self._requests[captured.id] = captured
        captured.cost += octets
        self._total += captured.cost
        if self._total > self._limit:
            self._shrink()

    def charge(self, captured: CapturedRequest, octets: int) -> bool:
        """Account for `octets` more of a request; False where they must not be stored (for observers)."""
        if not captured.kept:
            return False
        captured.cost += octets
        self._total += octets
        if self._total > self._limit:
            self._shrink()
        return captured.kept

    def announce(self, captured: CapturedRequest) -> None:
        """Tell the subscribers that a request's head is complete, or that it is over (for observers)."""
        for listener in self._listeners:
            try:
                listener(captured)
            except Exception:
                # The caller carries a visitor's bytes; they pass whatever becomes of the screen.
                log.exception("a subscriber of the inspector failed")

    def _unsubscribe(self, listener: Callable[[CapturedRequest], None]) -> None:
        self._listeners = tuple(one for one in self._listeners if one != listener)

    def _shrink(self) -> None:
        while self._total > self._limit and self._requests:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, oldest = self._requests.popitem(last=False)
        oldest.kept = False
        self._total -= oldest.cost
