"""What is measured: each load gives samples of a rate and of what it cost the gateway's processes."""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.comparison import Sample, Work
from benchmarks.figure import percentile
from benchmarks.gateways.gateway import BULK, PAGES, Running
from benchmarks.latency import PERCENTS, OpenLoop
from benchmarks.processes import CpuMeter

SHAKERS = 2
LATENCY_RATE = 1_000
_GIB = 2**30
_STREAMS = 4

REQUESTS = Work(
    "requests",
    "Requests over TLS on kept connections",
    "wrk (HTTP/1.1) and h2load (HTTP/2) ask for 14 bytes and for 100 KB, over TLS 1.3. Load, gateway and upstream "
    "share the processors.",
    "requests/s",
    "higher",
    "gateway-requests.png",
)
REQUESTS_CPU = Work(
    "requests-cpu",
    "Processor time of requests",
    "The same loads, with the handshakes that their connections begin with. All processes of a gateway together; it "
    "does not depend on how fast the load is.",
    "CPU s for 10,000 requests",
    "lower",
    "gateway-requests-cpu.png",
)
BODIES = Work(
    "bulk",
    "Large bodies",
    f"{_STREAMS} streams of curl, HTTP/1.1 over TLS 1.3, without an end.",
    "MB/s",
    "higher",
    "gateway-bulk.png",
)
BODIES_CPU = Work(
    "bulk-cpu",
    "Processor time of large bodies",
    "The same loads.",
    "CPU s for a GiB",
    "lower",
    "gateway-bulk-cpu.png",
)
HANDSHAKES = Work(
    "handshakes",
    "TLS handshakes",
    f"{SHAKERS} visitors (Python) connect, shake hands with X25519 and an ECDSA P-256 certificate, and leave; "
    "resumed by tickets. For a second of the gateway's processor time, so it does not depend on how fast visitors are.",
    "handshakes/CPU s",
    "higher",
    "gateway-handshakes.png",
)
CONNECTIONS = Work(
    "connections",
    "A connection for each request",
    "wrk, 16 visitors, each with a new connection and a whole TLS 1.3 handshake for each request.",
    "CPU s for 10,000 requests",
    "lower",
    "gateway-connections.png",
)
LATENCY = Work(
    "latency",
    "Latency at a fixed rate",
    f"{LATENCY_RATE:,} requests a second over 64 kept TLS connections, sent at fixed times; counted from the time a "
    "request was meant to be sent (no coordinated omission).",
    "ms",
    "lower",
    "gateway-latency.png",
)
MEMORY = Work(
    "memory",
    "Memory",
    "All processes, shared pages counted once: before any load, and after all loads with 1,000 visitors who have asked "
    "once over TLS and keep their connections. Portico's control and relay are in its figure.",
    "MiB",
    "lower",
    "gateway-memory.png",
)
WORKS = (REQUESTS, REQUESTS_CPU, BODIES, BODIES_CPU, HANDSHAKES, CONNECTIONS, LATENCY, MEMORY)


@dataclass(frozen=True)
class Load:
    """One load, which gives samples of some works."""

    row: str
    works: tuple[Work, ...]
    take: Callable[[Running, float], Sequence[float]]
    """A value for each of `works`; `seconds` is how long the load lasts."""

    def samples(self, gateway: Running, seconds: float) -> list[Sample]:
        """Run it once."""
        values = self.take(gateway, seconds)
        return [
            Sample(work.name, self.row, gateway.name, value) for work, value in zip(self.works, values, strict=True)
        ]


def _spent(meter: CpuMeter) -> float:
    return sum(meter.seconds.values())


def _per_10k(meter: CpuMeter, seen: load.Load) -> float:
    if not seen.requests:
        raise RuntimeError("no request was answered in time")
    return _spent(meter) * 10_000 / seen.requests


def _http1(path: str, connections: int) -> Callable[[Running, float], Sequence[float]]:
    def take(gateway: Running, seconds: float) -> Sequence[float]:
        with CpuMeter(gateway.processes) as meter:
            seen = load.requests(f"{gateway.url()}{path}", connections, seconds)
        return seen.rate, _per_10k(meter, seen)

    return take


def _http2(gateway: Running, seconds: float) -> Sequence[float]:
    address = f"127.0.0.1:{gateway.ports[PAGES]}"
    command = ["h2load", "-t1", "-c8", "-m16", f"-D{seconds:g}", f"--connect-to={address}", f"{gateway.url()}/"]
    with CpuMeter(gateway.processes) as meter:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    if rate is None or counts is None or int(counts[1]) == 0 or int(counts[2]) + int(counts[3]):
        raise RuntimeError(f"h2load: {done.stdout}")
    return float(rate[1]), _spent(meter) * 10_000 / int(counts[1])


def _bulk(direction: load.Direction) -> Callable[[Running, float], Sequence[float]]:
    def take(gateway: Running, seconds: float) -> Sequence[float]:
        with CpuMeter(gateway.processes) as meter:
            speed = load.bulk(gateway.url(BULK), gateway.authority, direction, _STREAMS, seconds)
        if not speed:
            raise RuntimeError(f"no bytes went {direction}")
        return speed / 1e6, _spent(meter) * _GIB / (speed * seconds)

    return take


def _handshakes(version: str, *, resume: bool = False) -> Callable[[Running, float], Sequence[float]]:
    def take(gateway: Running, seconds: float) -> Sequence[float]:
        options = {"port": gateway.ports[PAGES], "host": PAGES, "ca": str(gateway.authority), "seconds": seconds}
        command = [sys.executable, "-m", "benchmarks.handshaker"]
        command.append(json.dumps({**options, "version": version, "resume": resume}))
        with CpuMeter(gateway.processes) as meter:
            visitors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(SHAKERS)]
            counts = [int(visitor.communicate(timeout=seconds + 60)[0] or 0) for visitor in visitors]
        if not all(counts):
            raise RuntimeError("a visitor failed; see above")
        return (sum(counts) / _spent(meter),)

    return take


def _connections(gateway: Running, seconds: float) -> Sequence[float]:
    with CpuMeter(gateway.processes) as meter:
        seen = load.requests(f"{gateway.url()}/", 16, seconds, close=True)
    return (_per_10k(meter, seen),)


def latency(gateway: Running, seconds: float) -> list[Sample]:
    """Percentiles of one run."""
    context = ssl.create_default_context(cafile=str(gateway.authority))
    with contextlib.closing(OpenLoop(f"{gateway.url()}/", context)) as loop:
        taken = loop.run(LATENCY_RATE, seconds)
    return [
        Sample(LATENCY.name, f"p{percent:g}", gateway.name, 1e3 * percentile(taken, percent)) for percent in PERCENTS
    ]


def memory(gateway: Running, visitors: int) -> list[Sample]:
    """With `visitors` who wait."""
    row = f"with {visitors:,} idle visitors" if visitors else "at rest"
    context = ssl.create_default_context(cafile=str(gateway.authority))
    with contextlib.ExitStack() as stack:
        for _ in range(visitors):
            stack.enter_context(_visitor(gateway, context))
        return [Sample(MEMORY.name, row, gateway.name, gateway.memory / 2**20)]


def _visitor(gateway: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", gateway.ports[PAGES]), 10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each waits for a delayed ACK, 40 ms
    visitor = context.wrap_socket(plain, server_hostname=PAGES)
    visitor.sendall(f"GET / HTTP/1.1\r\nhost: {PAGES}\r\n\r\n".encode())
    if not visitor.recv(65_536).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("a visitor was not answered")
    return visitor


_BOTH = (REQUESTS, REQUESTS_CPU)
LOADS = (
    Load("HTTP/1.1, 32 connections", _BOTH, _http1("/", 32)),
    Load("HTTP/1.1, 256 connections", _BOTH, _http1("/", 256)),
    Load("HTTP/2, 8 connections of 16 streams", _BOTH, _http2),
    Load("100 KB, 32 connections", _BOTH, _http1("/body", 32)),
    Load("down", (BODIES, BODIES_CPU), _bulk("down")),
    Load("up", (BODIES, BODIES_CPU), _bulk("up")),
    Load("TLS 1.3", (HANDSHAKES,), _handshakes("1.3")),
    Load("TLS 1.2", (HANDSHAKES,), _handshakes("1.2")),
    Load("TLS 1.3, resumed", (HANDSHAKES,), _handshakes("1.3", resume=True)),
    Load("TLS 1.2, resumed", (HANDSHAKES,), _handshakes("1.2", resume=True)),
    Load("TLS 1.3", (CONNECTIONS,), _connections),
)
