"""Rate limits of two nodes that share a PostgreSQL: counted together, whatever becomes of the server."""

import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.postgres import PASSWORD, Postgres, running_postgres
from kit.visitor import Visitor
from kit.whole_lines import records
from portico.model.errors import LIMITS_APART, RATE_LIMITED
from portico.model.limits import share_of

CAPACITY = 40
WORKERS = 2
PATIENCE = 30
"""Refusals in a row on each node, with a new connection each: after those no worker holds anything any more."""
SHARED_FILES = ("vault.key", "ca.pem", "ca-key.pem")
_paths = itertools.count()


def limit(**more: object) -> dict[str, object]:
    given = {"name": "l", "algorithm": "sliding_window", "capacity": CAPACITY, "rate": "24h"}
    return {"type": "rate-limit", "config": {**given, "bucket_key": ["req.url.path"], **more}}


def answer(body: str) -> dict[str, object]:
    return {"type": "custom-response", "config": {"status_code": 200, "body": body}}


POLICIES = {
    "limited.localhost": [limit(), answer("passed")],
    "counted.localhost": [limit(enforce=False), answer("${actions.ngrok.rate_limit}")],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that may be stopped."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def nodes(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningEdge]]:
    url = server.new_database()
    with contextlib.ExitStack() as stack:
        running: list[RunningEdge] = []
        for name in ("here", "there"):
            directory = tmp_path_factory.mktemp(name)
            (directory / "edge").mkdir(mode=0o700)
            for file in SHARED_FILES if running else ():
                shutil.copy(running[0].data_dir / file, directory / "edge" / file)
            endpoints = [
                {"url": f"https://{host}", "traffic_policy": {"on_http_request": [{"actions": actions}]}}
                for host, actions in POLICIES.items()
            ]
            settings = {"database": url, "endpoints": endpoints}
            (directory / "edge.yml").write_text(json.dumps(settings))
            flags = ("--config", str(directory / "edge.yml"), "--envoy-concurrency", str(WORKERS))
            running.append(stack.enter_context(running_edge(directory, *flags)))
            start_gate(running[-1])
        yield running
    for edge in running:
        assert PASSWORD not in edge.log.read_text()


def start_gate(edge: RunningEdge) -> None:
    """On a busy machine that may take longer than workers wait, who then count alone for a while."""
    question = {"limit": "00" * 16, "key": "00" * 32, "capacity": 1_000, "seconds": 60}
    transport = httpx.HTTPTransport(uds=str(edge.data_dir / "run" / "gate.sock"))
    with httpx.Client(transport=transport, base_url="http://gate", timeout=100) as gate:
        assert gate.post("/limits", json=question).json()["granted"] == 1


@dataclass
class Asked:
    """One key, asked for on both nodes."""

    nodes: list[RunningEdge]
    host: str = "limited.localhost"
    path: str = field(default_factory=lambda: f"/{next(_paths)}")

    def connection(self, node: int) -> HTTPConnection:
        edge = self.nodes[node]
        return Visitor(edge.ca).connection(f"https://{self.host}:{edge.https_port}")

    def status(self, node: int) -> int:
        with contextlib.closing(self.connection(node)) as connection:
            connection.request("GET", self.path)
            found = connection.getresponse()
            found.read()
            assert found.status in (200, 429), found.status
            return found.status

    def passed(self, node: int, at_most: int = 10 * CAPACITY) -> int:
        """How many came through one node, until nobody does."""
        through = refused = 0
        while refused < PATIENCE:
            if self.status(node) == 200:
                through, refused = through + 1, 0
                assert through <= at_most
            else:
                refused += 1
        return through


def test_nodes_in_turn_let_through_the_capacity_together(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes)
    first = [asked.status(node) for _ in range(CAPACITY // 4) for node in (0, 1)]
    assert first.count(200) == len(first), "there is room for all of these"
    assert len(first) + asked.passed(0) + asked.passed(1) + asked.passed(0) == CAPACITY


def test_nodes_at_once_let_through_the_capacity_together(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes)
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(asked.passed, [0, 1] * 3)) == CAPACITY


def test_one_node_may_have_it_all_and_the_other_none(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes)
    assert (asked.passed(0), asked.passed(1)) == (CAPACITY, 0)
    assert Asked(nodes).status(1) == 200, "another key has its own count"


def test_who_is_refused_is_told_when_to_come_again(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes)
    asked.passed(0)
    with contextlib.closing(asked.connection(1)) as connection:
        connection.request("GET", asked.path, headers={"accept": "application/json"})
        found = connection.getresponse()
        assert found.status == 429
        assert 0 < int(found.headers["retry-after"]) <= 86_400
        assert found.headers["portico-error-code"] == str(RATE_LIMITED)
        assert json.loads(found.read())["error_code"] == str(RATE_LIMITED)


def test_what_is_only_counted_lets_all_through_and_says_so(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes, "counted.localhost")
    told = []
    for number in range(CAPACITY + 4 * PATIENCE):
        with contextlib.closing(asked.connection(number % 2)) as connection:
            connection.request("GET", asked.path)
            told.append(json.loads(connection.getresponse().read()))
    assert {one["bucket_key"] for one in told} == {json.dumps([asked.path])}
    assert sum(not one["limited"] for one in told) == CAPACITY


def apart(edge: RunningEdge) -> int:
    """How often a node has said that it counts alone."""
    return sum(record.get("code") == str(LIMITS_APART) for record in records(edge.log))


def test_without_the_server_each_node_has_a_share_and_with_it_they_count_together_again(
    nodes: list[RunningEdge], server: Postgres
) -> None:
    used_up, fresh, begun = Asked(nodes), Asked(nodes), Asked(nodes)
    assert used_up.passed(0) == CAPACITY
    assert [begun.status(node) for node in (0, 1)] == [200, 200]
    server.run("SELECT pg_current_xact_id()")  # this commit waits for the log, which counts do not
    server.stop()
    try:
        share = share_of(CAPACITY)
        # Only the gate's share: the gate is there, and counts for all workers of its node.
        assert [fresh.passed(node) for node in (0, 1)] == [share, share]
        assert used_up.passed(0) == 0, "what was used up stays so"
        assert used_up.passed(1) <= share
        assert 2 + begun.passed(0) + begun.passed(1) <= 2 + CAPACITY // 10 + 2 * share
        assert [apart(edge) for edge in nodes] == [1, 1]
    finally:
        server.start()
    for edge in nodes:
        eventually(lambda edge=edge: "rate limits are counted together again" in edge.log.read_text())  # type: ignore[misc]
    assert Asked(nodes).passed(1) == CAPACITY
    again = Asked(nodes)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(again.passed, [0, 1] * 2)) == CAPACITY
    assert used_up.passed(0) + used_up.passed(1) == 0
    assert [apart(edge) for edge in nodes] == [1, 1]


def test_a_gate_that_dies_lets_nobody_through_beyond_a_share(nodes: list[RunningEdge]) -> None:
    asked = Asked(nodes)
    through = sum(asked.status(0) == 200 for _ in range(CAPACITY // 2))
    os.kill(nodes[0].child("gate"), signal.SIGKILL)
    through += asked.passed(0) + asked.passed(1)
    assert CAPACITY // 2 < through <= CAPACITY + share_of(CAPACITY), (
        "where the new one was slow its workers had a share"
    )


def test_the_database_shows_in_no_command_line_and_no_key_in_it(nodes: list[RunningEdge], server: Postgres) -> None:
    Asked(nodes).status(0)
    secrets = [PASSWORD, *("".join(f"%{byte:02X}" for byte in PASSWORD.encode()),)]
    for edge in nodes:
        command = Path(f"/proc/{edge.child('gate')}/cmdline").read_bytes().decode()
        assert "--counters" in command
        assert not any(secret in command for secret in secrets)
        assert (edge.data_dir / "run" / "gate.counters").stat().st_mode & 0o777 == 0o600
