"""What one visitor may use of an edge. Every value has a setting; a time is in seconds, None means no limit."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class VisitorLimits:
    """The limits of connections, requests and streams that visitors open."""

    header_kib: int = 256
    """All header fields of a request together."""
    headers: int = 1000
    """Header fields of a request."""
    body_bytes: int | None = None
    streams: int = 128
    """Requests at once on one HTTP/2 connection."""
    stream_resets: int = 500
    """Requests that one HTTP/2 connection may cancel at once."""
    stream_resets_per_second: int = 50
    """How fast that allowance grows again."""
    requests_per_connection: int | None = None
    connection_seconds: float | None = None
    """How long a connection may last, however busy; HTTP is asked to end it and finishes its requests."""
    header_seconds: float = 20
    """For the whole head of a request: a visitor who drips it ends here."""
    request_seconds: float | None = 21_600
    """For a whole request with its body, unless its answer has begun: a visitor who drips a body ends here."""
    keepalive_seconds: float = 300
    """How long an HTTP connection may rest between requests."""
    reading_seconds: float = 300
    """How long a visitor may take nothing at all of what waits for him."""


SHARES: Final = 4
"""Into how many parts a rate limit's `capacity` is cut while nodes that share counts cannot reach them: one a node."""


@dataclass(frozen=True, slots=True)
class SharedCounts:
    """Rate limits are counted in a database that nodes share."""

    workers: int
    """Of this node's Envoy."""

    def of_a_worker(self, capacity: int) -> int:
        """What a worker lets through by itself in one window while it cannot ask the gate."""
        return max(1, share_of(capacity) // self.workers)


def share_of(capacity: int) -> int:
    """What a node lets through by itself in one window while the counts cannot be reached."""
    return max(1, capacity // SHARES)
