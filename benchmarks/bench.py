"""What a benchmark is given: sizes, a directory, and the stage that all traffic benchmarks share."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.stage import Stage, running_stage


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    runs: int
    seconds: float
    """Of each load."""
    rate: int
    """Requests per second of the open loop."""
    endpoints: tuple[int, ...]
    sessions: int
    attempts: int
    """Of what happens once: a start, a bind."""


FULL = Size(runs=3, seconds=3.0, rate=1_000, endpoints=(100, 1_000, 10_000), sessions=1_000, attempts=15)
QUICK = Size(runs=1, seconds=1.0, rate=300, endpoints=(100, 1_000), sessions=200, attempts=3)


class Bench:
    """Lives through the whole suite; what it started ends with it."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._stack = contextlib.ExitStack()

    @cached_property
    def stage(self) -> Stage:
        """The edge, services and agents for traffic; started when first asked for."""
        return self._stack.enter_context(running_stage(self.directory()))

    def directory(self) -> Path:
        """A new directory that goes with the suite."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="portico-bench-")))

    def leave_stage(self) -> None:
        """End what was started: benchmarks with an edge of their own shall have the machine for themselves."""
        self._stack.close()
        self.__dict__.pop("stage", None)


@contextlib.contextmanager
def bench(size: Size) -> Iterator[Bench]:
    """A bench that cleans up behind itself."""
    made = Bench(size)
    try:
        yield made
    finally:
        made.leave_stage()
