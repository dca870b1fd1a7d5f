"""What an operator wants to see of visitors: the access log, traces, and figures of single endpoints."""

from dataclasses import dataclass, field
from enum import StrEnum


class LogForm(StrEnum):
    """How a line of the access log looks."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class AccessLog:
    """A line for each request, and for each connection of tls and tcp endpoints."""

    form: LogForm
    path: str = ""
    """The file; empty means standard output."""
    query: bool = False
    """Whether the query of a request is written too; it may hold secrets."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go: a collector of OpenTelemetry."""

    host: str
    port: int
    grpc: bool
    """Whether it is OTLP over gRPC; else over HTTP."""
    tls: bool
    path: str
    """Of OTLP over HTTP, such as `/v1/traces`."""
    percent: float
    """Share of requests that are traced."""
    join: bool = True
    """Whether a visitor's `traceparent` is carried on; else each trace begins at the edge."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What the collector wants to be shown; secret."""
