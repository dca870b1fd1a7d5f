"""A measured figure, and the benchmark that gives it."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.bench import Bench


@dataclass(frozen=True)
class Figure:
    """One name, one unit, and the samples of one run."""

    name: str
    unit: str
    samples: tuple[float, ...]

    @classmethod
    def of(cls, name: str, unit: str, *samples: float) -> "Figure":
        return cls(name, unit, samples)


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in words for the page, and how."""

    name: str
    title: str
    how: str
    measure: "Callable[[Bench], list[Figure]]"
    runs: int = 3
    """Of the full suite; 1 where one run has many samples."""


def merged(runs: Sequence[list[Figure]]) -> list[Figure]:
    """The figures of several runs, with the samples of all."""
    found: dict[str, Figure] = {}
    for figure in (figure for run in runs for figure in run):
        before = found.get(figure.name)
        samples = (*before.samples, *figure.samples) if before else figure.samples
        found[figure.name] = Figure(figure.name, figure.unit, samples)
    return list(found.values())


def summary(figure: Figure) -> dict[str, Any]:
    """As it stands in the results."""
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": round(statistics.median(figure.samples), 4),
        "lowest": round(min(figure.samples), 4),
        "highest": round(max(figure.samples), 4),
        "samples": len(figure.samples),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]
