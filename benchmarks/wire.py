"""A wide-area wire as arithmetic: what becomes of each packet that enters it. Time is an argument."""

import random
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Path:
    """One direction of a link."""

    delay: float
    """Seconds from leaving the queue to arriving."""
    rate: float
    """Bytes per second."""
    queue: int
    """Bytes that wait for the rate; what does not fit is dropped at the tail, as routers do."""
    loss: float
    """Probability that a packet is lost, each by itself."""


class Wire:
    """Packets on their way, in order."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._chance = random.Random(seed)
        self._free_at = 0.0
        self._flying = deque[tuple[float, bytes]]()
        self.carried = self.lost = self.overflowed = 0
        """Packets that arrived or will, that were lost by chance, and that found the queue full."""

    def enter(self, packet: bytes, now: float) -> None:
        """Take a packet from its sender."""
        begins = max(now, self._free_at)
        if (begins - now) * self._path.rate > self._path.queue:
            self.overflowed += 1
            return
        self._free_at = begins + len(packet) / self._path.rate
        # Lost behind the queue: a lost packet has used the rate, too.
        if self._chance.random() < self._path.loss:
            self.lost += 1
            return
        self.carried += 1
        self._flying.append((self._free_at + self._path.delay, packet))

    @property
    def next_due(self) -> float | None:
        """When the next packet arrives."""
        return self._flying[0][0] if self._flying else None

    def leave(self, now: float) -> list[bytes]:
        """The packets that have arrived by now."""
        flying, arrived = self._flying, []
        while flying and flying[0][0] <= now:
            arrived.append(flying.popleft()[1])
        return arrived
