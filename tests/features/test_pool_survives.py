"""A pool of three agents and a direct upstream under load, of which one after the other dies."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pytest
import yaml

from kit.cli import RunningAgent, running_agent
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
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
class Load:
    """Visitors who come one after the other, each on a few threads; what they got."""

    visitor: Visitor
    url: str
    method: str = "GET"
    statuses: Counter[int | str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _visit(self) -> None:
        connection = self.visitor.connection(self.url)
        while not self._stop.is_set():
            try:
                connection.request(self.method, "/slow?0.02")
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
            except (OSError, HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                connection = self.visitor.connection(self.url)

    def passes(self, number: int) -> None:
        """Wait until so many more have been answered."""
        goal = self.statuses.total() + number
        eventually(lambda: self.statuses.total() >= goal)

    @contextlib.contextmanager
    def on(self, threads: int) -> Iterator[None]:
        """Visitors keep coming."""
        workers = [threading.Thread(target=self._visit) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()


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
    load = Load(Visitor(pool.edge.ca), pool.url)
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
            load = Load(Visitor(pool.edge.ca), pool.url, method)
            with load.on(4):
                load.passes(150)
            assert set(load.statuses) == {status}, load.statuses
