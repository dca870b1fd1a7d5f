"""The same work through a wide-area link between server and agent."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import load
from benchmarks.comparison import Record, Sample, Work, alternating, gather
from benchmarks.peers.bodies import Direction, rate
from benchmarks.peers.place import WidePlace
from benchmarks.peers.portico import CONNECT_NAME
from benchmarks.peers.stage import Ground, Way, running_stage
from benchmarks.peers.tunnel import Contender
from benchmarks.peers.unit import Size
from benchmarks.wan import wide_area

_DELAY_MS = 40.0
_MEGABITS = 200.0
_LOSSES = (0.0, 1.0)
_CONNECTIONS = 32
_CASES: tuple[tuple[Direction, int], ...] = (("down", 1), ("down", 8), ("up", 1))

_LINK = (
    f"Server and visitors at one end, agent and service at the other end of a link with {_DELAY_MS:g} ms round trip "
    f"and {_MEGABITS:g} Mbit/s each way, without loss and with 1 % of the packets lost each way (network namespaces; "
    "TCP with BBR for everybody). "
)
ASKING = Work(
    "wide-requests",
    "Requests through a wide-area link",
    f"{_LINK}{_CONNECTIONS} connections that stay open, as above: one answer in each round trip would be "
    f"{_CONNECTIONS / _DELAY_MS * 1e3:.0f} requests/s.",
    "requests/s",
    "higher",
    "peers-wide-requests.png",
)
LATENCY = Work(
    "wide-latency",
    "Latency through a wide-area link",
    "p99 of the same requests, as wrk sees it: what a lost packet of one visitor does to the others.",
    "ms",
    "lower",
)
BULK = Work(
    "wide-bulk",
    "Large bodies through a wide-area link",
    f"The same link, whose limit is {_MEGABITS / 8:g} MB/s.",
    "MB/s",
    "higher",
    "peers-wide-bulk.png",
)
WORKS = (ASKING, LATENCY, BULK)


def wide(ground: Ground, contenders: Sequence[Contender], size: Size, record: Record) -> None:
    """All contenders stand on each link in turn."""
    for loss in _LOSSES[-1:] if size.brief else _LOSSES:
        with wide_area(_DELAY_MS, loss, _MEGABITS, names=(CONNECT_NAME,)) as link:
            place = WidePlace(link, CONNECT_NAME)
            with running_stage(ground, place, contenders, ("small", "bulk")) as stage:
                for name, reason in stage.absent.items():
                    record.failed.update(dict.fromkeys(((work.name, name) for work in WORKS), reason))
                at = f"{_DELAY_MS:g} ms" + (f", {loss:g} % loss" if loss else "")
                works = tuple(work.name for work in WORKS)
                for case in _cases(at, size):
                    for way in alternating(stage.ways, size.wide_rounds):
                        with place.at_server():
                            gather(record, works, way.name, partial(case, way))


def _cases(at: str, size: Size) -> list[partial[Iterator[Sample]]]:
    return [
        partial(_asking, at, size),
        *(partial(_bulk, at, size, *case) for case in (_CASES[:1] if size.brief else _CASES)),
    ]


def _asking(at: str, size: Size, way: Way) -> Iterator[Sample]:
    target = way.targets["small"]
    seen = load.requests(f"{target.url}/", _CONNECTIONS, size.wide_seconds, address=target.address)
    yield Sample(ASKING.name, at, way.name, seen.rate)
    yield Sample(LATENCY.name, at, way.name, seen.p99)


def _bulk(at: str, size: Size, direction: Direction, streams: int, way: Way) -> Iterator[Sample]:
    row = f"{at}: {direction}, {streams} stream{'s' if streams > 1 else ''}"
    yield Sample(BULK.name, row, way.name, rate(way, direction, streams, size.wide_seconds) / 1e6)
