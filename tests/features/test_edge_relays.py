"""Several relay processes on one node: sessions spread over them, and one that dies takes only its own with it."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

import portico
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.service import http_service
from kit.visitor import Visitor

AGENTS = 6
"""A request is tried at four addresses: one relay has three of these at most, should Envoy still have all of them."""


@pytest.fixture
def wide_edge(tmp_path: Path) -> Iterator[RunningEdge]:
    with running_edge(tmp_path, "--relays", "2") as edge:
        yield edge
        portico.kill()


def binds(edge: RunningEdge, relay: str) -> int:
    """How many a relay says that it serves."""
    with urlopen(edge.admin + "/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(rf'^portico_relay_binds{{relay="{relay}"}} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def test_a_pool_spans_relays_and_outlives_one_of_them(wide_edge: RunningEdge) -> None:
    edge, visitor = wide_edge, Visitor(wide_edge.ca)
    with http_service() as port:
        for number in range(AGENTS):
            portico.forward(
                port,
                authtoken=edge.authtoken,
                connect_url=edge.connect_url,
                connect_cas=str(edge.ca),
                # Other settings, so another session.
                session_metadata=str(number),
                domain="pool.localhost",
                pooling_enabled=True,
            )
        url = portico.get_listeners()[0].url()
        served = {relay: binds(edge, relay) for relay in ("r0", "r1")}
        assert sum(served.values()) == AGENTS
        assert all(served.values())
        dying = min(served, key=lambda relay: served[relay])
        old = edge.child(dying)
        os.kill(old, signal.SIGKILL)
        for _ in range(50):
            assert visitor.get(url)[0] == 200
        eventually(lambda: edge.child(dying) != old)
        eventually(lambda: binds(edge, "r0") + binds(edge, "r1") == AGENTS)
        assert visitor.get(url)[0] == 200
