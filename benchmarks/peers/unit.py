"""A unit of the run: works that are measured together, case by case, contenders in turn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.comparison import Sample, Work
from benchmarks.peers.stage import Way


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    """Of each load; wrk knows whole ones only."""
    rate: int
    """Requests a second of the open loop."""
    visitors: int
    sessions: int
    rest: float
    """Seconds of looking at who is at rest."""
    away: float
    """Seconds that the link is away."""
    wide_rounds: int
    wide_seconds: float
    brief: bool = False
    """Whether only the first cases are measured."""


FULL = Size(
    rounds=3, seconds=2.0, rate=1_000, visitors=1_000, sessions=100, rest=4.0, away=2.0, wide_rounds=2, wide_seconds=2.0
)  # fmt: skip
QUICK = Size(
    rounds=1, seconds=1.0, rate=300, visitors=100, sessions=10, rest=1.0, away=1.0, wide_rounds=1, wide_seconds=1.0,
    brief=True,
)  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """Measured on the stage that contenders share."""

    name: str
    works: tuple[Work, ...]
    cases: tuple[Callable[[Way, Size], Iterable[Sample]], ...]
    service: str = "small"
    """The service that a way must lead to, to take part."""
    rounds: int = 3
    """At most."""
    quick: int = 2
    """How many of its cases a quick run measures."""
