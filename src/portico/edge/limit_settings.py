"""The settings of what visitors may use of an edge, and what it does before it runs out."""

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from portico.edge.settings_part import (
    OFF_IS_NONE,
    Limit,
    OptionalLimit,
    OptionalSeconds,
    Seconds,
    Setting,
    SettingsPart,
)
from portico.model.limits import VisitorLimits

_USUAL: Final = VisitorLimits()
_MIB: Final = 1 << 20
_SHARE: Final = 0.6
"""Of the memory that there is; the rest is for control, the relays, the kernel's buffers and Envoy's own spares."""
_CGROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usual_memory_mib() -> int:
    """What Envoy may take by default: a share of the machine's memory, or of the container's where that is less."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUPS:
        try:
            least = min(least, int(Path(name).read_text()))
        except (OSError, ValueError):  # no such file, or `max`
            continue
    return max(64, int(least * _SHARE) // _MIB)


class VisitorLimitSettings(SettingsPart):
    """Defences against visitors who would use up the edge; those that nobody in good faith meets are on by default."""

    max_connections: Annotated[Limit, Setting("N")] = 50_000
    """Connections that visitors and agents may have at once, on all ports; more are closed at once."""
    max_memory_mib: Annotated[
        Annotated[int, Field(ge=64)] | None, OFF_IS_NONE, Setting("MIB|off", "60 % of the machine's or the container's")
    ] = Field(default_factory=usual_memory_mib)
    """Memory of Envoy: above 80 % idle visitors have less time, at 95 % nobody comes in, at 98 % requests get 503."""
    max_http2_streams: Annotated[Limit, Field(le=100_000), Setting("N")] = _USUAL.streams
    """Requests at once on one HTTP/2 connection."""
    max_stream_resets: Annotated[Limit, Setting("N")] = _USUAL.stream_resets
    """Requests that one HTTP/2 connection may cancel at once before it is ended (CVE-2023-44487)."""
    stream_resets_per_second: Annotated[Limit, Setting("N")] = _USUAL.stream_resets_per_second
    """How fast that allowance grows again."""
    max_header_kib: Annotated[Limit, Field(le=8_192), Setting("KIB")] = _USUAL.header_kib
    """Size of a request's head; more is answered with 431."""
    max_header_count: Annotated[Limit, Field(le=10_000), Setting("N")] = _USUAL.headers
    """Header fields of a request; more are answered with 431."""
    max_body_mib: Annotated[OptionalLimit, Setting("MIB|off", "off")] = None
    """Size of a request's body; more is answered with 413."""
    max_requests_per_connection: Annotated[OptionalLimit, Setting("N|off", "off")] = None
    """Requests after which a connection is asked to end."""
    max_connection_seconds: Annotated[OptionalSeconds, Setting("SECONDS|off", "off")] = None
    """Time after which an HTTP connection is asked to end, and one of a tls or tcp endpoint is ended."""
    header_seconds: Annotated[Seconds, Setting("SECONDS")] = _USUAL.header_seconds
    """Time for the whole head of a request."""
    request_seconds: Annotated[OptionalSeconds, Setting("SECONDS|off")] = _USUAL.request_seconds
    """Time for a whole request with its body, unless its answer has begun."""
    idle_seconds: Annotated[OptionalSeconds, Setting("SECONDS|off")] = 3_600
    """Time that a request, a WebSocket or a stream of events may be silent in both directions."""
    keepalive_seconds: Annotated[Seconds, Setting("SECONDS")] = _USUAL.keepalive_seconds
    """Time that an HTTP connection may rest between requests."""
    reading_seconds: Annotated[Seconds, Setting("SECONDS")] = _USUAL.reading_seconds
    """Time that a visitor may take nothing at all of what waits for him."""

    def visitor_limits(self) -> VisitorLimits:
        """The same as `translate` takes it."""
        return VisitorLimits(
            header_kib=self.max_header_kib,
            headers=self.max_header_count,
            body_bytes=None if self.max_body_mib is None else self.max_body_mib * _MIB,
            streams=self.max_http2_streams,
            stream_resets=self.max_stream_resets,
            stream_resets_per_second=self.stream_resets_per_second,
            requests_per_connection=self.max_requests_per_connection,
            connection_seconds=self.max_connection_seconds,
            header_seconds=self.header_seconds,
            request_seconds=self.request_seconds,
            keepalive_seconds=self.keepalive_seconds,
            reading_seconds=self.reading_seconds,
        )

    @property
    def memory_bytes(self) -> int | None:
        """Memory of Envoy."""
        return None if self.max_memory_mib is None else self.max_memory_mib * _MIB
