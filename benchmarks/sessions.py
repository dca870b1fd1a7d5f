"""Memory of sessions at rest."""

import uvloop

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.live import all_of, new_agent, settled_memory
from benchmarks.stage import EDGE_FLAGS
from kit.edge import RunningEdge, running_edge


async def _fill(edge: RunningEdge, count: int) -> list[Figure]:
    before = await settled_memory(edge)
    agents = [new_agent(edge) for _ in range(count)]
    await all_of(agent.start() for agent in agents)
    after = await settled_memory(edge)
    await all_of(agent.close() for agent in agents)
    grown = {name: (after[name] - before[name]) / count / 1e3 for name in after}
    return [
        Figure.of("a session, all processes", "kB", sum(grown.values())),
        *(Figure.of(f"a session, {name}", "kB", size) for name, size in grown.items()),
        *(Figure.of(f"{name} with no session", "MB", size / 1e6) for name, size in before.items()),
    ]


def measure(bench: Bench) -> list[Figure]:
    """What a session adds to the resident memory of Envoy, relay and control."""
    with running_edge(bench.directory(), *EDGE_FLAGS) as edge:
        return uvloop.run(_fill(edge, bench.size.sessions))


BENCHMARK = Benchmark(
    name="sessions",
    title="Sessions at rest",
    how="1,000 agents (200 in a quick run) connect over TLS, authenticate, and stay without an endpoint, with "
    "heartbeats every 10 s. What the resident memory of each process of the edge has grown by, for one session.",
    measure=measure,
    runs=1,
)
