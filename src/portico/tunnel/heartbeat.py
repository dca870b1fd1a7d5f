"""Heartbeats: a 4-byte nonce on a stream of its own, echoed by the peer. Both sides beat.

A Rust SDK whose beat is not echoed never beats again, so echoes are never skipped; one that receives a FIN on a
heartbeat stream floods 65,535 empty frames, so a heartbeat stream is never finished by its opener (observed).
"""

import os
from typing import Final

NONCE_SIZE: Final = 4
HEARTBEAT_KIND: Final = 0xFFFFFFFF


class Heartbeat:
    """The clock of one session's beats, ours and the peer's. All times are seconds of one monotonic clock."""

    __slots__ = (
        "_beat_at", "_heard_at", "_nonce", "_sent_at", "expect_beats", "interval", "latency", "shortest",
        "tolerance",
    )  # fmt: skip

    def __init__(self, interval: float, tolerance: float, now: float, *, expect_beats: bool) -> None:
        self.interval = interval
        self.tolerance = tolerance
        self.expect_beats = expect_beats
        """Whether the peer has to beat too; if not, only a missing echo tells that it is dead."""
        self.latency: float | None = None
        """Seconds from our last echoed beat to its echo."""
        self.shortest: float | None = None
        """The best of them so far: a round trip without the waiting that our own bytes cause."""
        self._beat_at = now
        self._heard_at = now
        self._nonce: bytes | None = None
        self._sent_at = now

    def beat(self, now: float) -> bytes | None:
        """The nonce to send, if one is due; none while the last one is unanswered."""
        if now < self._beat_at or self._nonce is not None:
            return None
        self._nonce = os.urandom(NONCE_SIZE)
        self._sent_at = now
        self._beat_at = now + self.interval
        return self._nonce

    def echoed(self, nonce: bytes, now: float) -> float | None:
        """Take an echo; returns the latency, or None for a nonce that is not ours (an old one is no sign of life)."""
        if nonce != self._nonce:
            return None
        self._nonce = None
        latency = self.latency = now - self._sent_at
        self.shortest = latency if self.shortest is None or latency < self.shortest else self.shortest
        return latency

    def heard(self, now: float) -> None:
        """The peer sent a beat of its own."""
        self._heard_at = now

    def lost(self, now: float) -> str | None:
        """Why the peer counts as dead at `now`, or None."""
        patience = self.interval + self.tolerance
        if self._nonce is not None and now >= self._sent_at + patience:
            return f"no echo of our heartbeat for {now - self._sent_at:.1f} s"
        if self.expect_beats and now >= self._heard_at + patience:
            return f"no heartbeat for {now - self._heard_at:.1f} s"
        return None

    def deadline(self) -> float:
        """When to look again."""
        patience = self.interval + self.tolerance
        own = self._beat_at if self._nonce is None else self._sent_at + patience
        return min(own, self._heard_at + patience) if self.expect_beats else own
