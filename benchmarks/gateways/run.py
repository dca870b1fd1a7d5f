"""All gateways at once before the same upstreams, and the loads upon one after the other."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.comparison import Record, Sample, alternating, gather
from benchmarks.gateways.gateway import DOMAIN, Gateway, Running, Setting
from benchmarks.gateways.upstreams import upstreams
from benchmarks.gateways.works import LATENCY, LOADS, MEMORY, latency, memory
from benchmarks.peers.build import Programs
from kit.key_pairs import KeyPairs


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    """Of each load; whole ones, as wrk wants them."""
    visitors: int
    """Who wait."""


FULL: Final = Size(rounds=3, seconds=3, visitors=1_000)
QUICK: Final = Size(rounds=1, seconds=1, visitors=200)


@contextlib.contextmanager
def stage(
    directory: Path, found: Programs, gateways: Sequence[Gateway]
) -> Iterator[tuple[list[Running], dict[str, str]]]:
    """Who runs, and who did not start, with the reason. Who is not at work rests."""
    pairs = KeyPairs(directory, "benchmark")
    certificate, key = pairs.issue(f"*.{DOMAIN}")
    both = directory / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    running, absent = [], {}
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(upstreams(_new(directory, "upstreams")))
        for gateway in gateways:
            own = _new(directory, gateway.named.name)
            setting = Setting(own, found.paths, certificate, key, both, pairs.ca, behind)
            try:
                running.append(stack.enter_context(gateway.serve(setting)))
            except Exception as error:
                absent[gateway.named.name] = f"it did not start: {error}"
        yield running, absent


def _new(directory: Path, name: str) -> Path:
    made = directory / name.replace(" ", "-")
    made.mkdir()
    return made


def run(record: Record, running: Sequence[Running], chosen: Sequence[str], size: Size) -> None:
    """Every work of `chosen`; gateways take turns."""

    def turns(works: Sequence[str], rounds: int, measure: Callable[[Running], Iterable[Sample]]) -> None:
        if not set(works) & set(chosen):
            return
        for gateway in alternating(running, rounds):
            failure = gather(record, works, gateway.name, partial(measure, gateway))
            if failure is not None:
                print(f"{gateway.name}: {', '.join(works)}: {failure}", file=sys.stderr, flush=True)

    turns((MEMORY.name,), 1, lambda gateway: memory(gateway, 0))
    for load in LOADS:
        turns([work.name for work in load.works], size.rounds, partial(load.samples, seconds=size.seconds))
    turns((LATENCY.name,), size.rounds, lambda gateway: latency(gateway, size.seconds))
    turns((MEMORY.name,), 1, lambda gateway: memory(gateway, size.visitors))
