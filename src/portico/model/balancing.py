"""How an endpoint's load is spread over its addresses, and when one of them is left out.

Nothing set means: least requests, an address that cannot be reached rests for some seconds, no checks, no limits.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Method(StrEnum):
    """Which address gets the next request, or the next connection where Envoy speaks no HTTP."""

    LEAST_REQUEST = "least-request"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    RING_HASH = "ring-hash"
    MAGLEV = "maglev"

    @property
    def hashes(self) -> bool:
        """Whether what a request is hashed by leads to its address."""
        return self in (Method.RING_HASH, Method.MAGLEV)

    @property
    def starts_slowly(self) -> bool:
        """Whether a new address can be spared at first."""
        return self in (Method.LEAST_REQUEST, Method.ROUND_ROBIN)


class HashKind(StrEnum):
    """What a request is hashed by."""

    ADDRESS = "address"
    """The visitor's IP address; the only kind where Envoy speaks no HTTP."""
    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class HashBy:
    """One thing that requests are hashed by."""

    kind: HashKind
    name: str = ""
    """Of the header, cookie or query parameter."""
    cookie_seconds: int | None = None
    """Where set, a visitor without the cookie gets one of this life; 0 for as long as the browser is open."""


@dataclass(frozen=True, slots=True)
class SlowStart:
    """A new address gets a growing share of the load."""

    seconds: float
    percent: int = 10
    """What it begins with, of its share."""


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A request whose answer must have one of `statuses`."""

    path: str = "/"
    host: str | None = None
    """Host header; None for the host header that upstreams of the endpoint see, or the endpoint's own host."""
    method: str = "GET"
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    """From and to, both included."""


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    """grpc.health.v1.Health/Check; needs an upstream that speaks HTTP/2."""

    service: str = ""
    """Empty for the server as a whole."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Asks each address from time to time whether it is well. Times are in seconds.

    Without `http` and `grpc` a connection is the question. Through a tunnel it is one to the upstream: the relay has
    the agent open a stream, and waits.
    """

    http: HttpCheck | None = None
    grpc: GrpcCheck | None = None
    interval: float = 5.0
    timeout: float = 2.0
    unhealthy_after: int = 2
    """Failures in a row."""
    healthy_after: int = 1
    """Successes in a row."""
    idle_interval: float = 60.0
    """In place of `interval` until the endpoint has had its first visitor."""

    @property
    def by_connection(self) -> bool:
        """Whether a connection is all that is asked for."""
        return self.http is None and self.grpc is None

    @property
    def jitter_percent(self) -> int:
        """Checks of many endpoints drift apart."""
        return 10


@dataclass(frozen=True, slots=True)
class OutlierEjection:
    """An address whose visitors meet failures rests for a while. 0 of a kind means that kind does not count."""

    consecutive_5xx: int = 0
    """Answers of 500 to 599: a service that gives them is by default the visitor's to see."""
    consecutive_gateway: int = 0
    """Answers 502, 503 and 504."""
    consecutive_local: int = 1
    """Connections that failed, were reset, or timed out before an answer."""
    interval: float = 1.0
    """Seconds between two looks at who may return."""
    base_seconds: float = 5.0
    """The first rest; each further one in a row is longer by it."""
    max_seconds: float = 30.0
    max_percent: int = 100
    """How many of the addresses may rest at once."""


UNLIMITED: Final = 1_000_000
"""Envoy's own limit of 1024 per cluster would be met by one busy endpoint; the relay has the limit that counts."""


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """How much may be under way to all addresses together; what is beyond is answered 503 at once."""

    connections: int = UNLIMITED
    pending: int = UNLIMITED
    """Requests that wait for a connection."""
    requests: int = UNLIMITED
    """Requests that are with an address. In HTTP/1.1 each has a connection, and the next one waits for it."""
    retries: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class Balancing:
    """Everything of it."""

    method: Method = Method.LEAST_REQUEST
    hash_by: tuple[HashBy, ...] = ()
    """Tried in order, the first that a request has counts; for the methods that hash."""
    slow_start: SlowStart | None = None
    panic_percent: int = 1
    """Where fewer of the addresses are healthy, all are tried; 0: the unhealthy never."""
    zone_weights: tuple[tuple[str, int], ...] = ()
    """Shares of zones; empty where zones mean nothing. A zone that is not named has 1."""
    health: HealthCheck | None = None
    outlier: OutlierEjection | None = None
    """None for what pools have by default, and a single address has not."""
    limits: CircuitLimits = CircuitLimits()

    @property
    def remembers(self) -> bool:
        """Whether an address has a past, which must outlive changes of its neighbours."""
        return self.health is not None or self.slow_start is not None


USUAL: Final = Balancing()
"""Nothing set."""
