"""Large bodies, both ways."""

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.processes import CpuMeter

STREAMS = (1, 8)
DIRECTIONS: tuple[load.Direction, ...] = ("down", "up")
GIB = 1 << 30


def measure(bench: Bench) -> list[Figure]:
    """Megabytes per second, and the CPU seconds for a GiB on one stream."""
    stage, figures = bench.stage, []
    for direction in DIRECTIONS:
        for streams in STREAMS:
            for way in stage.ways:
                with CpuMeter(stage.processes(way.bulk_agent)) as cpu:
                    rate = load.bulk(way.bulk, stage.edge.ca, direction, streams, bench.size.seconds)
                name = f"{way.name}, {direction}, {streams} stream{'s' if streams > 1 else ''}"
                figures.append(Figure.of(name, "MB/s", rate / 1e6))
                if streams == 1:
                    bytes_moved = rate * bench.size.seconds
                    figures += [
                        Figure.of(f"{way.name}, {direction}: CPU of {process} for a GiB", "s", used * GIB / bytes_moved)
                        for process, used in cpu.seconds.items()
                    ]
    return figures


BENCHMARK = Benchmark(
    name="bulk",
    title="Large bodies",
    how="curl loads from, or sends to, a service that gives and takes bytes without an end, for a fixed time, over 1 "
    "and 8 connections at once. Tunnelled visitors speak TLS to the edge (curl's own decryption is in the "
    "figure); the row with no tunnel is plain TCP. MB are 10⁶ bytes, sums of all connections.",
    measure=measure,
)
