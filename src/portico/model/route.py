"""Routes: which requests of one endpoint go to which of its pools, and what is changed on the way.

The words are those of Gateway API (HTTPRoute, GRPCRoute, TLSRoute, TCPRoute), without anything of Kubernetes in them.
Which of several matches counts is decided here, once, for all doors: https://gateway-api.sigs.k8s.io, HTTPRouteRule.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PathKind(StrEnum):
    """How a path is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    """By segments: /foo is in front of /foo and /foo/bar, not of /foobar."""
    REGEX = "regex"
    """RE2, the whole path."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """What a path must be; the query is no part of it."""

    kind: PathKind
    value: str


EVERY_PATH: Final = PathMatch(PathKind.PREFIX, "/")


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """What a header or a parameter of the query must be."""

    name: str
    value: str | None = None
    """None where it only has to be there."""
    regex: bool = False
    """Whether `value` is an RE2 expression for the whole text."""


@dataclass(frozen=True, slots=True)
class Match:
    """Everything that is said here must hold of a request."""

    path: PathMatch = EVERY_PATH
    methods: tuple[str, ...] = ()
    """One of them; none named: any."""
    headers: tuple[FieldMatch, ...] = ()
    query: tuple[FieldMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Headers that are set (in place of what is there), added (beside it) and removed."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


NO_CHANGES: Final = HeaderChanges()


@dataclass(frozen=True, slots=True)
class PathChange:
    """Another path: in place of the whole one, or of the prefix that matched."""

    value: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the upstream sees in place of what the visitor asked for."""

    host: str | None = None
    path: PathChange | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the visitor is sent; what is not said stays as he wrote it."""

    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: PathChange | None = None
    status: int = 302


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that the edge gives itself."""

    status: int
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A pool that gets copies of requests; its answers are thrown away."""

    pool: str
    per_million: int = 1_000_000
    """How many of a million requests."""


@dataclass(frozen=True, slots=True)
class Retries:
    """What the owner lets be sent again, beyond requests that no upstream has seen."""

    attempts: int
    codes: tuple[int, ...] = ()
    """Statuses of an answer in place of which another one is asked for."""
    backoff: float = 0.025
    """Seconds before the second try, about; each further one waits up to twice as long, ten times this at most."""
    broken: bool = False
    """Whether a request is sent again whose connection broke, or whose try took too long: it may run twice."""


@dataclass(frozen=True, slots=True)
class Affinity:
    """Requests with the same cookie, or the same header, go to the same address as long as the pool stays the same."""

    cookie: str = ""
    """Name of a cookie that the edge gives to visitors without one."""
    header: str = ""
    """Name of a header, where there is no cookie."""
    lifetime: int = 0
    """Seconds that visitors keep the cookie; 0 for as long as the browser runs."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may use the answers (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

    origins: tuple[str, ...]
    """`https://a.example`, `https://*.a.example`, or `*`."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    headers: tuple[str, ...] = ()
    """Headers that requests may have beyond those that are always allowed."""
    exposed: tuple[str, ...] = ()
    """Headers of answers that pages may read beyond those that they always may."""
    credentials: bool = False
    max_age: int = 5
    """Seconds that a browser may keep what it was told."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A share of a route's requests."""

    pool: str
    """Name of one of the endpoint's pools; where it has none of that name, this share is answered with 500."""
    weight: int = 1
    """Beside the weights of the others; 0 for none."""
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES
    host: str | None = None
    """Host header for this backend alone."""


@dataclass(frozen=True, slots=True)
class Route:
    """Requests that fit one of `matches` (none: all) are redirected, answered, or spread over `backends`."""

    name: str
    matches: tuple[Match, ...] = ()
    backends: tuple[Backend, ...] = ()
    redirect: Redirect | None = None
    answer: Answer | None = None
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    timeout: float = 0
    """Seconds for the whole answer, all tries together; 0 for as long as it takes."""
    try_timeout: float = 0
    """Seconds for one try; 0 for as long as it takes."""
    retries: Retries | None = None
    affinity: Affinity | None = None
    cors: Cors | None = None


def grpc_path(service: str = "", method: str = "", *, regex: bool = False) -> PathMatch:
    """The path of gRPC calls to a service and a method; an empty one stands for any, with `regex` both are RE2."""
    if regex:
        return PathMatch(PathKind.REGEX, f"/{service or '[^/]+'}/{method or '[^/]+'}")
    if service and method:
        return PathMatch(PathKind.EXACT, f"/{service}/{method}")
    if service:
        return PathMatch(PathKind.PREFIX, f"/{service}")
    return PathMatch(PathKind.REGEX, f"/[^/]+/{re.escape(method)}") if method else EVERY_PATH


_RANKS: Final = {PathKind.EXACT: 0, PathKind.REGEX: 1, PathKind.PREFIX: 2}
"""Gateway API leaves expressions to us: in front of prefixes, since a route for / would hide them all."""


def in_order(routes: Iterable[Route]) -> list[tuple[Route, Match]]:
    """Each match with its route; of those that fit a request the first one counts.

    Exact paths, then expressions, then prefixes, the longest first; then a method, the number of headers, the number of
    query parameters; what is equal in all of that stays in the order of the routes and their matches.
    """
    pairs = [(route, match) for route in routes for match in route.matches or (Match(),)]
    return sorted(pairs, key=lambda pair: _precedence(pair[1]))


def _precedence(match: Match) -> tuple[int, int, bool, int, int]:
    length = len(match.path.value.rstrip("/")) if match.path.kind is PathKind.PREFIX else len(match.path.value)
    return _RANKS[match.path.kind], -length, not match.methods, -len(match.headers), -len(match.query)
