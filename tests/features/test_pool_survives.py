"""A pool of three agents and a direct upstream under load, of which one after the other dies."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kit.cli import RunningAgent, running_agent
from kit.edge import RunningEdge, running_edge
from kit.load import Load
from kit.service import http_service
from kit.visitor import Visitor

_DIRECT = """
import sys
from kit.service import http_service
with http_service() as port:
    print(port, flush=True)
    sys.stdin.read()
"""


@dataclass
class Pool:
    """What serves the one name."""

    edge: RunningEdge
    url: str
    agents: list[RunningAgent]
    direct: subprocess.Popen[str]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with contextlib.ExitStack() as stack:
        direct = subprocess.Popen(
            [sys.executable, "-c", _DIRECT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        stack.callback(direct.wait)
        stack.callback(direct.kill)
        stack.enter_context(direct)
        assert direct.stdout is not None
        port = int(direct.stdout.readline())
        config = tmp_path / "edge.yml"
        endpoint = {"url": "https://pool.localhost", "upstreams": [f"127.0.0.1:{port}"], "pooling": True}
        config.write_text(yaml.safe_dump({"endpoints": [endpoint]}))
        edge = stack.enter_context(running_edge(tmp_path, "--config", str(config)))
        service = stack.enter_context(http_service())
        flags = ("--url", "https://pool.localhost", "--pooling-enabled")
        agents = [stack.enter_context(running_agent(edge, "http", str(service), *flags)) for _ in range(3)]
        (url,) = {agent.url() for agent in agents}
        yield Pool(edge, url, agents, direct)


def test_no_get_is_lost(pool: Pool) -> None:
    load = Load(Visitor(pool.edge.ca), pool.url + "/slow?0.02")
    stopped = pool.agents[1].process
    with load.on(6):
        load.passes(60)
        pool.agents[0].process.kill()
        load.passes(150)
        stopped.send_signal(signal.SIGSTOP)
        try:
            load.passes(300)
            pool.direct.kill()
            load.passes(200)
        finally:
            stopped.send_signal(signal.SIGCONT)
        load.passes(100)
    assert set(load.statuses) == {200}, load.statuses


def test_an_agent_without_its_service_costs_no_request(pool: Pool) -> None:
    """The agent lives, and says that it cannot reach what it is for."""
    flags = ("--url", "https://pool.localhost", "--pooling-enabled", "--pool-weight", "5")
    with running_agent(pool.edge, "http", "1", *flags) as useless:
        useless.url()
        # The service knows no POST, and says so with 501: who has nobody behind him cannot.
        for method, status in (("GET", 200), ("POST", 501)):
            load = Load(Visitor(pool.edge.ca), pool.url + "/slow?0.02", method)
            with load.on(4):
                load.passes(150)
            assert set(load.statuses) == {status}, load.statuses
