"""Agents in this process, for sessions and endpoints in great number; the edge is real, and its memory is counted."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from benchmarks.processes import resident_bytes
from kit.edge import RunningEdge
from portico.agent.agent import Agent
from portico.agent.edge_address import EdgeAddress
from portico.agent.settings import SessionSettings

T = TypeVar("T")
AT_ONCE = 32
SETTLE_SECONDS = 2.0


def new_agent(edge: RunningEdge) -> Agent:
    """An agent that is not connected yet."""
    settings = SessionSettings(
        edge=EdgeAddress("localhost", edge.https_port), authtoken=edge.authtoken, connect_cas=str(edge.ca)
    )
    return Agent(settings)


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do everything, AT_ONCE at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(step: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await step

    return await asyncio.gather(*map(one, work))


async def settled_memory(edge: RunningEdge) -> dict[str, int]:
    """Resident bytes of the edge's processes, once they have come to rest."""
    await asyncio.sleep(SETTLE_SECONDS)
    names = {"Envoy": "envoy", "relay": "r0", "control": "control"}
    return {name: resident_bytes(edge.child(child)) for name, child in names.items()}
