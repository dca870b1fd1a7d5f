"""The gate's own process: it comes with the first policy that asks; that it, or Envoy, is replaced is not noticed."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

import portico
from kit.edge import RunningEdge
from kit.polling import eventually
from kit.sdk_fixtures import sdk_at
from kit.service import answering_service
from kit.visitor import Visitor

INNER, OUTER = "https://inner.internal", "https://outer.localhost"
_BODY = "${actions.ngrok.http_request.res.status_code} ${actions.ngrok.http_request.res.body}"
POLICY = {
    "on_http_request": [
        {
            "actions": [
                {"type": "http-request", "config": {"url": f"{INNER}/ping", "timeout": "30s"}},
                {"type": "custom-response", "config": {"body": _BODY}},
            ]
        }
    ]
}


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with answering_service(lambda _: b"pong") as port:
        yield port


@pytest.fixture(scope="module", autouse=True)
def endpoints(edge: RunningEdge, service: int) -> Iterator[None]:
    with sdk_at(edge):
        portico.forward(service, url=INNER)
        with pytest.raises(LookupError):
            edge.child("gate")
        portico.forward(service, url=OUTER, traffic_policy=POLICY)
        yield


@pytest.fixture
def visitor(edge: RunningEdge) -> Visitor:
    return Visitor(edge.ca)


def is_running(edge: RunningEdge, name: str) -> bool:
    with contextlib.suppress(LookupError):
        return edge.child(name) > 0
    return False


def asks_the_gate(edge: RunningEdge, visitor: Visitor) -> bool:
    return visitor.get(f"{OUTER}:{edge.https_port}/") == (200, "200 pong")


def test_it_is_there_before_anybody_asks(edge: RunningEdge) -> None:
    assert eventually(lambda: is_running(edge, "gate"))


def test_an_internal_endpoint_is_asked(edge: RunningEdge, visitor: Visitor) -> None:
    assert asks_the_gate(edge, visitor)


def test_a_gate_that_was_killed_is_back(edge: RunningEdge, visitor: Visitor) -> None:
    old = edge.child("gate")
    os.kill(old, signal.SIGKILL)
    assert asks_the_gate(edge, visitor)
    assert eventually(lambda: edge.child("gate") != old)


def test_a_new_envoy_asks_the_same_gate(edge: RunningEdge, visitor: Visitor) -> None:
    old, gate = edge.child("envoy"), edge.child("gate")
    edge.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: edge.child("envoy") != old)
    for _ in range(10):
        assert asks_the_gate(edge, visitor)
    assert edge.child("gate") == gate
