"""Large bodies: down, up, and both at once."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from typing import Literal

from benchmarks import load
from benchmarks.comparison import Sample, Work
from benchmarks.peers.stage import Way
from benchmarks.peers.unit import Size, Unit
from benchmarks.processes import RolesMeter

Direction = Literal["down", "up", "both ways"]
GIB = 1 << 30
_ENDS: dict[Direction, tuple[load.Direction, ...]] = {"down": ("down",), "up": ("up",), "both ways": ("down", "up")}

BULK = Work(
    "bulk",
    "Large bodies",
    "curl loads from, or sends to, a service that gives and takes bytes without an end, for a fixed time, over 1 and 8 "
    "plain connections; both ways at once with as many again. What goes up counts when it has come to the service. MB "
    "are 10⁶ bytes, sums of all connections.",
    "MB/s",
    "higher",
    "peers-bulk.png",
)
CPU = Work(
    "cpu-bulk",
    "CPU for a GiB",
    "Processor time of all processes of the server, of the agent, and of both, in the load above on one connection.",
    "CPU s",
    "lower",
    "peers-cpu-bulk.png",
)


def rate(way: Way, direction: Direction, streams: int, seconds: float) -> float:
    """Bytes per second of all connections together."""
    target = way.targets["bulk"]

    def one(end: load.Direction) -> float:
        before, began = _received(way), time.perf_counter()
        loaded = load.bulk(target.url, way.authority, end, streams, seconds, target.address)
        if end == "down":
            return loaded
        return (_received(way) - before) / (time.perf_counter() - began)

    ends = _ENDS[direction]
    if len(ends) == 1:
        return one(ends[0])
    with ThreadPoolExecutor(len(ends)) as pool:
        return sum(pool.map(one, ends))


def _received(way: Way) -> int:
    """What has come to the service: what a visitor has sent may still lie in buffers on the way."""
    with way.place.at_agent(), contextlib.closing(HTTPConnection("127.0.0.1", way.bulk_port, timeout=30)) as service:
        service.request("GET", "/received")
        return int(service.getresponse().read())


def _bulk(direction: Direction, streams: int, way: Way, size: Size) -> Iterator[Sample]:
    with RolesMeter(way.roles()) as cpu:
        moved = rate(way, direction, streams, size.seconds)
    yield Sample(BULK.name, f"{direction}, {streams} stream{'s' if streams > 1 else ''}", way.name, moved / 1e6)
    if streams == 1 and direction != "both ways":
        for role, seconds in cpu.seconds.items():
            yield Sample(CPU.name, f"{direction}: {role}", way.name, seconds * GIB / (moved * size.seconds))


UNITS = (
    Unit(
        "bulk",
        (BULK, CPU),
        tuple(partial(_bulk, direction, streams) for streams in (1, 8) for direction in _ENDS),
        service="bulk",
    ),
)
