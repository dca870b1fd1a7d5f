"""The benchmarks of `python -m benchmarks`, in the order in which they run and stand on the page."""

from benchmarks import (
    bulk,
    endpoints,
    keep_alive,
    latency,
    limits,
    new_connections,
    policies,
    policy_changes,
    recovery,
    sessions,
    starting,
    tls_handshakes,
)
from benchmarks.figure import Benchmark

TRAFFIC: tuple[Benchmark, ...] = (
    keep_alive.BENCHMARK,
    new_connections.BENCHMARK,
    bulk.BENCHMARK,
    latency.BENCHMARK,
    starting.BENCHMARK,
)
"""They share one edge and its agents."""
ALONE: tuple[Benchmark, ...] = (
    limits.BENCHMARK,
    recovery.BENCHMARK,
    tls_handshakes.BENCHMARK,
    endpoints.BENCHMARK,
    sessions.BENCHMARK,
    policies.BENCHMARK,
    policy_changes.BENCHMARK,
)
"""Each starts what it needs for itself."""
SUITE = (*TRAFFIC, *ALONE)
