"""Many Portico agents in one process, each with a session of its own: `python -m benchmarks.peers.crowd JSON`."""

import asyncio
import json
import sys
from typing import Any

import uvloop

from benchmarks.live import all_of
from portico.agent.agent import Agent
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.settings import SessionSettings
from portico.agent.upstream import Upstream, UpstreamScheme


async def _stay(edge: dict[str, Any], *binds: dict[str, Any]) -> None:
    host, _, port = edge["connect_url"].rpartition(":")
    settings = SessionSettings(edge=EdgeAddress(host, int(port)), authtoken=edge["authtoken"], connect_cas=edge["ca"])

    async def join(bind: dict[str, Any]) -> Agent:
        agent = Agent(settings)
        await agent.start()
        request = BindRequest(kind=BindKind.TCP, url=bind["url"])
        await agent.open(request, Upstream(UpstreamScheme.TCP, "127.0.0.1", bind["port"]))
        return agent

    agents = await all_of(join(bind) for bind in binds)
    await asyncio.Event().wait()
    await all_of(agent.close() for agent in agents)


if __name__ == "__main__":
    uvloop.run(_stay(*json.loads(sys.argv[1])))
