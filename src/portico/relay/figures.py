"""What a relay counts; control collects it for /metrics and the status of agents."""

from dataclasses import asdict, dataclass
from typing import Final

LATENCY_WEIGHT: Final = 0.1
"""Share of a new round trip in the mean: about the last ten beats count."""


@dataclass(slots=True)
class Figures:
    """Gauges, and counters since the start of the process. The names are what `Collect` answers with."""

    sessions: int = 0
    sessions_unauthenticated: int = 0
    binds: int = 0
    streams: int = 0
    sessions_opened_total: int = 0
    sessions_refused_total: int = 0
    binds_opened_total: int = 0
    streams_opened_total: int = 0
    streams_retried_total: int = 0
    streams_refused_total: int = 0
    """Visitors turned away by the stream limit of their session."""
    streams_failed_total: int = 0
    """Streams that ended before the first byte of an answer to the request on them."""
    bytes_in_total: int = 0
    """From visitors to agents."""
    bytes_out_total: int = 0
    """From agents to visitors."""
    heartbeats_missed_total: int = 0
    latency_seconds: float = 0.0
    """Moving mean of heartbeat round trips over all sessions."""

    def measure(self, round_trip: float) -> None:
        """Count one heartbeat's round trip, in seconds."""
        if self.latency_seconds == 0.0:
            self.latency_seconds = round_trip
        self.latency_seconds += LATENCY_WEIGHT * (round_trip - self.latency_seconds)

    def values(self) -> dict[str, float]:
        """All figures by name."""
        return {name: float(value) for name, value in asdict(self).items()}
