"""How often rate limits that nodes count together are asked for.

    python -m benchmarks.shared_limits

Prints, for 1,000 requests with one key: how many of them ask the gate, and how many the database. Counted with the
runtime's own Lua and the gate's own leases, on counts that do as PostgreSQL's do; visitors come one after another, to
each worker of each node in turn. Needs no database, and takes seconds.
"""

import asyncio
import contextlib
from typing import Final

import msgspec

from kit.limited import Clock, Counts, Worker, limit
from portico.gate.limits import Limits
from portico.gate.questions import Limit
from portico.model.limits import SharedCounts
from portico.translate.policy.together import Together

REQUESTS: Final = 1_000
CAPACITIES: Final = (10, 100, 1_000, 10_000, 1_000_000)
SHAPES: Final = ((1, 1), (1, 4), (3, 4))
"""Nodes, and workers of each."""


async def questions(capacity: int, nodes: int, workers: int) -> tuple[int, int]:
    """Of all requests: those that ask the gate, and those that ask the database."""
    clock, asked = Clock(), 0
    counts = Counts(clock)
    among = Together("me https://a.test", SharedCounts(workers))
    async with contextlib.AsyncExitStack() as stack:
        ways = []
        for _ in range(nodes):
            gate = Limits(counts, clock)
            await stack.enter_async_context(gate.swept())
            made = [Worker(clock) for _ in range(workers)]
            ways += [(gate, worker, worker.action(limit(capacity), among)) for worker in made]
        for number in range(REQUESTS):
            gate, worker, action = ways[number % len(ways)]
            visit = worker.begin(action)
            if visit.question is not None:
                asked += 1
                visit.tell(200, msgspec.json.encode(await gate.ask(msgspec.json.decode(visit.question, type=Limit))))
    return asked, counts.takes


async def _main() -> None:
    print(f"{'':12}" + "".join(f"{f'{nodes} x {workers}: gate, database':>26}" for nodes, workers in SHAPES))
    for capacity in CAPACITIES:
        cells = [await questions(capacity, *shape) for shape in SHAPES]
        print(f"{capacity:<12,}" + "".join(f"{asked:>15,}{takes:>11,}" for asked, takes in cells))


if __name__ == "__main__":
    asyncio.run(_main())
