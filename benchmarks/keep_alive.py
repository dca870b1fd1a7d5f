"""Requests on connections that stay open."""

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.processes import CpuMeter

CONNECTIONS = (1, 32, 256)
COST_AT = 32


def measure(bench: Bench) -> list[Figure]:
    """Rates, their ratio to no tunnel, the latency of one visitor alone, and what 10,000 requests cost."""
    stage, figures = bench.stage, []
    for connections in CONNECTIONS:
        at = f"{connections} connection{'s' if connections > 1 else ''}"
        rates: dict[str, float] = {}
        for way in stage.ways:
            with CpuMeter(stage.processes(way.http_agent)) as cpu:
                seen = load.requests(f"{way.http}/", connections, bench.size.seconds)
            rates[way.name] = seen.rate
            figures.append(Figure.of(f"{way.name}, {at}", "requests/s", seen.rate))
            if way is not stage.direct:
                share = seen.rate / rates[stage.direct.name]
                figures.append(Figure.of(f"{way.name}, {at}, of no tunnel", "%", 100 * share))
            if connections == 1:
                figures.append(Figure.of(f"{way.name}, {at}, p50", "ms", seen.p50))
                figures.append(Figure.of(f"{way.name}, {at}, p99", "ms", seen.p99))
            if connections == COST_AT:
                figures += _cost(way.name, cpu, seen.requests)
    secure = load.requests(f"{stage.portico.https}/", COST_AT, bench.size.seconds)
    figures.append(Figure.of(f"portico http over TLS, {COST_AT} connections", "requests/s", secure.rate))
    return figures


def _cost(way: str, cpu: CpuMeter, requests: int) -> list[Figure]:
    return [
        Figure.of(f"{way}: CPU of {name} for 10,000 requests", "s", seconds * 10_000 / requests)
        for name, seconds in cpu.seconds.items()
    ]


BENCHMARK = Benchmark(
    name="keep-alive",
    title="Requests on kept connections",
    how="wrk asks for a page of 14 bytes over 1, 32 and 256 plain HTTP/1.1 connections: from the service itself with "
    "no tunnel, through `portico http`, and through the official ngrok Python SDK as the agent. wrk, Envoy, "
    "relay, agent and service share the cores, so the share of “no tunnel” is the figure to compare. The latency "
    "of one connection through the ngrok SDK shows that its Nagle algorithm meets no delayed ACK (44 ms where it "
    "does). CPU seconds are the processes' own, at 32 connections.",
    measure=measure,
)
