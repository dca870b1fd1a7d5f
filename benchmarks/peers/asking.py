"""Requests: on kept connections, on a connection each, and at a fixed rate."""

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks import load
from benchmarks.comparison import Sample, Work
from benchmarks.figure import percentile
from benchmarks.latency import CONNECTIONS, PERCENTS, OpenLoop
from benchmarks.peers.stage import Way
from benchmarks.peers.unit import Size, Unit
from benchmarks.processes import RolesMeter

_COST_AT = 32
_VISITORS = 16

KEPT = Work(
    "keep-alive",
    "Requests on kept connections",
    "wrk asks for a page of 14 bytes over 1, 32 and 256 plain HTTP/1.1 connections that stay open. wrk, server, agent "
    "and service (nginx, one worker) share the processors.",
    "requests/s",
    "higher",
    "peers-keep-alive.png",
)
CPU = Work(
    "cpu-requests",
    "CPU for 10,000 requests",
    f"Processor time of all processes of the server, of the agent, and of both, in the load above with {_COST_AT} "
    "connections.",
    "CPU s",
    "lower",
    "peers-cpu-requests.png",
)
NEW = Work(
    "connections",
    "A connection for each request",
    f"{_VISITORS} visitors (wrk) open a connection, ask once with `Connection: close`, and open the next; plain, and "
    "in TLS 1.3 with a handshake each time (ECDSA P-256; wrk resumes its session where it may, and its own part of the "
    "work is the larger one). `portico http` and the ngrok SDK's endpoint end "
    "that TLS at the edge; all others pass it through to nginx: `portico tls` and `frp http` by its SNI, the rest as "
    "bytes.",
    "connections/s",
    "higher",
)
LATENCY = Work(
    "latency",
    "Latency at a fixed rate",
    f"1,000 requests a second (300 in a quick run) over {CONNECTIONS} kept connections, sent at fixed times whether or "
    "not earlier ones are answered; latency counts from the time that a request was meant to be sent (no coordinated "
    "omission).",
    "ms",
    "lower",
    "peers-latency.png",
)


def _kept(connections: int, way: Way, size: Size) -> Iterator[Sample]:
    with RolesMeter(way.roles()) as cpu:
        seen = load.requests(f"{way.targets['small'].url}/", connections, size.seconds)
    yield Sample(KEPT.name, f"{connections} connection{'s' if connections > 1 else ''}", way.name, seen.rate)
    if connections == _COST_AT and cpu.seconds:
        for role, seconds in cpu.seconds.items():
            yield Sample(CPU.name, role, way.name, seconds * 10_000 / seen.requests)


def _new(name: str, way: Way, size: Size) -> Iterator[Sample]:
    if name in way.targets:
        seen = load.requests(f"{way.targets[name].url}/", _VISITORS, size.seconds, close=True)
        yield Sample(NEW.name, "TLS" if name == "secure" else "plain", way.name, seen.rate)


def _latency(way: Way, size: Size) -> Iterator[Sample]:
    with contextlib.closing(OpenLoop(way.targets["small"].url)) as loop:
        taken = loop.run(size.rate, size.seconds)
    for percent in PERCENTS:
        yield Sample(LATENCY.name, f"p{percent:g}", way.name, 1e3 * percentile(taken, percent))


UNITS = (
    Unit("keep-alive", (KEPT, CPU), tuple(partial(_kept, connections) for connections in (1, _COST_AT, 256))),
    Unit("connections", (NEW,), (partial(_new, "small"), partial(_new, "secure")), service="secure"),
    Unit("latency", (LATENCY,), (_latency,)),
)
