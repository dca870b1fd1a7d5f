"""The run: units on one stage in turn, then what needs the machine for itself."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.comparison import Record, Work, alternating, gather
from benchmarks.peers import asking, at_rest, bodies, returning, stalled, wide
from benchmarks.peers.place import Place
from benchmarks.peers.stage import Ground, Stage, running_stage
from benchmarks.peers.tunnel import Contender
from benchmarks.peers.unit import Size, Unit

SHARED: tuple[Unit, ...] = (*at_rest.UNITS, *asking.UNITS, *bodies.UNITS, *stalled.UNITS)
"""On one stage; those at rest first, before any load has grown anybody."""
ALONE: dict[str, tuple[tuple[Work, ...], Callable[[Ground, Sequence[Contender], Size, Record], None]]] = {
    "idle-sessions": (at_rest.WORKS, at_rest.sessions),
    "wide": (wide.WORKS, wide.wide),
    "returning": (returning.WORKS, returning.returning),
}
WORKS: tuple[Work, ...] = (
    *(work for unit in SHARED if unit not in at_rest.UNITS for work in unit.works),
    *wide.WORKS,
    *returning.WORKS,
    *(work for unit in at_rest.UNITS for work in unit.works),
    *at_rest.WORKS,
)
"""As they stand on the page."""
NAMES = (*(unit.name for unit in SHARED), *ALONE)


def run(
    ground: Ground, contenders: Sequence[Contender], size: Size, chosen: Sequence[str], record: Record
) -> dict[str, str]:
    """Measure what is chosen into `record`; returns who or what could not be measured at all, and why."""
    absent: dict[str, str] = {}
    units = [unit for unit in SHARED if unit.name in chosen]
    if units:
        with running_stage(ground, Place(), contenders) as stage:
            absent = stage.absent
            for unit in units:
                with _timed(unit.name, absent):
                    _measure(unit, stage, size, record)
    there = [each for each in contenders if each.named.name not in absent]
    for name, (_, measure) in ALONE.items():
        if name in chosen:
            with _timed(name, absent):
                measure(ground, there, size, record)
    return absent


def _measure(unit: Unit, stage: Stage, size: Size, record: Record) -> None:
    ways = [way for way in stage.ways if unit.service in way.targets]
    works = [work.name for work in unit.works]
    for case in unit.cases[: unit.quick] if size.brief else unit.cases:
        for way in alternating(ways, min(unit.rounds, size.rounds)):
            gather(record, works, way.name, partial(case, way, size))


@contextlib.contextmanager
def _timed(name: str, absent: dict[str, str]) -> Iterator[None]:
    """Say how long it took; what cannot be measured here is noted, and the run goes on."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        absent[name] = str(error) or repr(error)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
