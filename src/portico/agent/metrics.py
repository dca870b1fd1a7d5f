"""How many visitor connections an endpoint has had, how fast they come, how long they last."""

import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from portico.model.value import Value

_TICK: Final = 5.0
"""Seconds between two updates of the moving rates."""
_DURATIONS_KEPT: Final = 1024


class ConnectionFigures(Value, frozen=True):
    """One look at a `ConnectionMeter`; the columns of the status screen (ttl opn rt1 rt5 p50 p90)."""

    total: int = 0
    open: int = 0
    rate1: float = 0.0
    """Connections a second, moving average over one minute."""
    rate5: float = 0.0
    rate15: float = 0.0
    p50: float = 0.0
    """Seconds that half of the last 1024 connections stayed below."""
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    bytes_in: int = 0
    """Octets from visitors to the upstream."""
    bytes_out: int = 0


class _Rate:
    """An exponentially weighted moving average, as Unix load averages are made."""

    def __init__(self, minutes: int) -> None:
        self._weight = 1 - math.exp(-_TICK / 60 / minutes)
        self._value = 0.0
        self._started = False

    def tick(self, count: int) -> None:
        rate = count / _TICK
        self._value = self._value + self._weight * (rate - self._value) if self._started else rate
        self._started = True

    @property
    def value(self) -> float:
        return self._value


class ConnectionMeter:
    """Counts the visitor connections of one endpoint, or of several at once."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._open = 0
        self._since_tick = 0
        self._next_tick = clock() + _TICK
        self._rates = (_Rate(1), _Rate(5), _Rate(15))
        self._durations: deque[float] = deque(maxlen=_DURATIONS_KEPT)
        self._bytes_in = 0
        self._bytes_out = 0

    def opened(self) -> float:
        """A connection begins; returns the time to hand to `closed`."""
        self._tick()
        self._total += 1
        self._open += 1
        self._since_tick += 1
        return self._clock()

    def closed(self, opened_at: float, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """A connection is over."""
        self._open -= 1
        self._durations.append(self._clock() - opened_at)
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out

    def figures(self) -> ConnectionFigures:
        """The figures of this moment."""
        self._tick()
        ordered = sorted(self._durations)
        rate1, rate5, rate15 = (rate.value for rate in self._rates)
        return ConnectionFigures(
            total=self._total,
            open=self._open,
            rate1=rate1,
            rate5=rate5,
            rate15=rate15,
            p50=_quantile(ordered, 0.5),
            p90=_quantile(ordered, 0.9),
            p95=_quantile(ordered, 0.95),
            p99=_quantile(ordered, 0.99),
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
        )

    def _tick(self) -> None:
        late = self._clock() - self._next_tick
        if late < 0:
            return
        # After an hour of silence the averages are 0 to any digit shown; no need to catch up tick by tick beyond it.
        ticks = 1 + min(int(late / _TICK), 720)
        for number in range(ticks):
            for rate in self._rates:
                rate.tick(self._since_tick if number == 0 else 0)
        self._since_tick = 0
        self._next_tick = self._clock() + _TICK


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
