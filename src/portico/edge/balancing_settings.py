"""What the settings file says of an endpoint's balancing and health, checked while the file is read."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from portico.edge.settings_part import Seconds, Setting, SettingsPart
from portico.model.balancing import (
    Balancing,
    CircuitLimits,
    GrpcCheck,
    HashBy,
    HashKind,
    HealthCheck,
    HttpCheck,
    Method,
    OutlierEjection,
    SlowStart,
)

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""RFC 9110, 5.6.2: names of headers, and (RFC 6265, 4.1.1) of cookies."""
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,1000}")
_STATUSES: Final = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")
_ZONE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_CIRCUIT: Final = 1_000_000
_Percent = Annotated[int, Field(ge=0, le=100)]
_Times = Annotated[int, Field(ge=0, le=1_000)]
_Circuit = Annotated[int, Field(ge=1, le=MAX_CIRCUIT)]


def _parse_hash(value: object) -> HashBy:
    if isinstance(value, HashBy):
        return value
    kind, _, name = str(value).partition(":")
    if not isinstance(value, str) or kind not in list(HashKind):
        raise ValueError(f"{value!r} is nothing to hash by; write address, header:NAME, cookie:NAME or query:NAME")
    if kind == HashKind.ADDRESS:
        if name:
            raise ValueError("address has no name")
        return HashBy(HashKind.ADDRESS)
    fits = _VALUE if kind == HashKind.QUERY else _TOKEN
    if not fits.fullmatch(name):
        raise ValueError(f"{value!r}: {name!r} is not the name of a {kind}")
    return HashBy(HashKind(kind), name)


def _parse_statuses(value: object) -> tuple[int, int]:
    if isinstance(value, tuple):
        return value
    found = _STATUSES.fullmatch(str(value)) if isinstance(value, str | int) else None
    if found is None:
        raise ValueError(f"{value!r} is neither a status nor a range, such as 204 or 200-299")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise ValueError(f"the range {value} runs backwards; write the lower status first")
    return first, last


def parse_zone(value: object) -> str:
    """The name of a zone: letters, digits and . _ -, at most 63; empty for none."""
    if not isinstance(value, str) or (value and not _ZONE.fullmatch(value)):
        raise ValueError(f"{value!r} is not the name of a zone: use letters, digits and . _ -, at most 63")
    return value


def _parse_path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} is not a path; it begins with / and has no spaces")
    return value


def _parse_word(value: object) -> str:
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} is empty, too long, or has characters that cannot be sent")
    return value


class BalancingSettings(SettingsPart):
    """How the load is spread over the addresses of an endpoint."""

    method: Annotated[
        Method, Setting("least-request|round-robin|random|ring-hash|maglev", str(Method.LEAST_REQUEST))
    ] = Method.LEAST_REQUEST
    """Which address gets the next request (or connection, for tls and tcp)."""
    hash_by: Annotated[
        tuple[Annotated[HashBy, PlainValidator(_parse_hash)], ...],
        Field(max_length=8),
        Setting("list", "address, for methods that hash"),
    ] = ()
    """For ring-hash and maglev: address, header:NAME, cookie:NAME, query:NAME; the first that a request has counts."""
    cookie_seconds: Annotated[int | None, Field(ge=0, le=31_536_000), Setting("SECONDS", "no cookie is given")] = None
    """Life of the cookie that visitors get who lack the one of `hash_by`; 0 for as long as the browser runs."""
    slow_start: Annotated[Seconds | None, Setting("SECONDS", "off")] = None
    """How long a new address is spared; for least-request and round-robin."""
    slow_start_percent: Annotated[int, Field(ge=1, le=100), Setting("N")] = 10
    """Share of its load that a new address begins with."""
    panic_percent: Annotated[_Percent, Setting("N")] = 1
    """Where fewer of the addresses are healthy than this, all are tried; 0: the unhealthy never."""
    zones: Annotated[
        dict[Annotated[str, PlainValidator(parse_zone)], Annotated[int, Field(ge=1, le=1_000)]] | None,
        Field(min_length=1, max_length=100),
        Setting("mapping", "zones mean nothing"),
    ] = None
    """Shares of zones, by name; a zone that is not named has 1, and so have agents, who are in none."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.hash_by and not self.method.hashes:
            raise ValueError(f"hash_by is for ring-hash and maglev, not for {self.method}")
        if self.cookie_seconds is not None and all(each.kind is not HashKind.COOKIE for each in self.hash_by):
            raise ValueError("cookie_seconds needs a cookie in hash_by")
        if self.slow_start is not None and not self.method.starts_slowly:
            raise ValueError(f"slow_start is for least-request and round-robin, not for {self.method}")
        if "slow_start_percent" in self.model_fields_set and self.slow_start is None:
            raise ValueError("slow_start_percent needs slow_start")
        return self


class HealthCheckSettings(SettingsPart):
    """Asks every address from time to time whether it is well; through tunnels, too."""

    type: Annotated[Literal["http", "tcp", "grpc"], Setting("http|tcp|grpc")] = "http"
    """A request, a connection, or grpc.health.v1."""
    path: Annotated[str, PlainValidator(_parse_path), Setting("PATH")] = "/"
    """For http: what is asked for."""
    host: Annotated[str | None, PlainValidator(_parse_word), Setting("TEXT", "what upstreams see")] = None
    """For http: the Host header."""
    method: Annotated[Literal["GET", "HEAD", "OPTIONS", "POST"], Setting("GET|HEAD|OPTIONS|POST")] = "GET"
    """For http."""
    statuses: Annotated[
        tuple[Annotated[tuple[int, int], PlainValidator(_parse_statuses)], ...],
        Field(min_length=1, max_length=20),
        Setting("list", "200-299"),
    ] = ((200, 299),)
    """For http: the answers that mean well."""
    service: Annotated[str, Field(max_length=1000), Setting("TEXT", "the server as a whole")] = ""
    """For grpc: the service."""
    interval: Annotated[Seconds, Setting("SECONDS")] = 5.0
    """Between two checks of an address."""
    timeout: Annotated[Annotated[float, Field(ge=0.1, le=60)], Setting("SECONDS")] = 2.0
    """For the answer. A tcp check through a tunnel takes up to half a second, so give it more."""
    unhealthy_after: Annotated[Annotated[int, Field(ge=1, le=100)], Setting("N")] = 2
    """Failures in a row that put an address out."""
    healthy_after: Annotated[Annotated[int, Field(ge=1, le=100)], Setting("N")] = 1
    """Successes in a row that take it back."""
    idle_interval: Annotated[Seconds, Setting("SECONDS")] = 60.0
    """In place of interval as long as the endpoint has had no visitor."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of = {"http": {"path", "host", "method", "statuses"}, "grpc": {"service"}, "tcp": set[str]()}
        foreign = set.union(*of.values()) - of[self.type]
        if given := sorted(self.model_fields_set & foreign):
            raise ValueError(f"{', '.join(given)}: not for a check of type {self.type}")
        if self.type == "tcp" and self.timeout < 1:
            raise ValueError("a tcp check needs a timeout of at least 1 second")
        return self

    def check(self) -> HealthCheck:
        """The same as the model has it."""
        return HealthCheck(
            HttpCheck(self.path, self.host, self.method, self.statuses) if self.type == "http" else None,
            GrpcCheck(self.service) if self.type == "grpc" else None,
            interval=self.interval,
            timeout=self.timeout,
            unhealthy_after=self.unhealthy_after,
            healthy_after=self.healthy_after,
            idle_interval=self.idle_interval,
        )


class OutlierSettings(SettingsPart):
    """Which failures that visitors meet put an address out for a while; 0 of a kind: that kind does not."""

    consecutive_5xx: Annotated[_Times, Setting("N")] = 0
    """Answers of 500 to 599 in a row."""
    consecutive_gateway: Annotated[_Times, Setting("N")] = 0
    """Answers 502, 503 and 504 in a row."""
    consecutive_local: Annotated[_Times, Setting("N")] = 1
    """Connections in a row that failed or were reset; also what an agent says of its upstream."""
    interval: Annotated[Annotated[float, Field(ge=0.1, le=3600)], Setting("SECONDS")] = 1.0
    """Between two looks at who may return."""
    rest: Annotated[Seconds, Setting("SECONDS")] = 5.0
    """The first rest; each further one in a row is longer by it."""
    longest_rest: Annotated[Seconds, Setting("SECONDS")] = 30.0
    """The longest one."""
    max_percent: Annotated[_Percent, Setting("N")] = 100
    """How many of the addresses may rest at once."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.longest_rest < self.rest:
            raise ValueError("longest_rest is shorter than rest")
        return self

    def ejection(self) -> OutlierEjection:
        """The same as the model has it."""
        return OutlierEjection(
            self.consecutive_5xx,
            self.consecutive_gateway,
            self.consecutive_local,
            self.interval,
            self.rest,
            self.longest_rest,
            self.max_percent,
        )


class LimitSettings(SettingsPart):
    """How much may be under way to all addresses of an endpoint together; what is beyond is answered 503 at once."""

    connections: Annotated[_Circuit, Setting("N")] = MAX_CIRCUIT
    """Connections; each of Envoy's threads may have one in any case."""
    pending: Annotated[_Circuit, Setting("N")] = MAX_CIRCUIT
    """Requests that wait for a connection."""
    requests: Annotated[_Circuit, Setting("N")] = MAX_CIRCUIT
    """Requests that are with an address; in HTTP/1.1 each has a connection, and the next one waits for it."""
    retries: Annotated[_Circuit, Setting("N")] = MAX_CIRCUIT
    """Requests that are being sent again."""


def balancing(
    spread: BalancingSettings | None,
    health: HealthCheckSettings | None,
    outlier: OutlierSettings | None,
    limits: LimitSettings | None,
    *,
    http: int,
) -> Balancing:
    """All of it together; `http` is the HTTP version of the upstreams, 0 for bytes. Raises ValueError."""
    spread = spread or BalancingSettings()
    if not http and any(each.kind is not HashKind.ADDRESS for each in spread.hash_by):
        raise ValueError("hash_by: tls and tcp endpoints can be hashed by address alone")
    check = health.check() if health else None
    if check is not None and check.grpc is not None and http != 2:
        raise ValueError("a grpc check needs upstream_protocol http2")
    return Balancing(
        method=spread.method,
        hash_by=tuple(
            HashBy(each.kind, each.name, spread.cookie_seconds) if each.kind is HashKind.COOKIE else each
            for each in spread.hash_by
        ),
        slow_start=SlowStart(spread.slow_start, spread.slow_start_percent) if spread.slow_start else None,
        panic_percent=spread.panic_percent,
        zone_weights=tuple((spread.zones or {}).items()),
        health=check,
        outlier=outlier.ejection() if outlier else None,
        limits=CircuitLimits(**limits.model_dump()) if limits else CircuitLimits(),
    )
