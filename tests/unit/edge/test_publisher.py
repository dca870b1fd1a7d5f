"""What Envoy is given at the start of a node."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from kit.policies import policy_text, rule
from kit.translated import endpoint
from portico.edge.publisher import Publisher
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import UnixSocket
from portico.model.limits import SharedCounts
from portico.translate.resource import Resource

FRAME = EdgeFrame(
    domain="edge.test",
    https=SocketAddress("127.0.0.1", 443),
    http=SocketAddress("127.0.0.1", 80),
    tcp_host="127.0.0.1",
    agent_sockets=("agents.sock",),
    api_socket="api.sock",
    mark_header="x-mark",
    policy_script="policy.lua",
    shared_counts=SharedCounts(2),
)
LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s", "bucket_key": ["req.method"]}
FORWARD = {"url": "https://a.internal", "on_error": "continue"}


class Given:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.resources: list[Resource] = []

    def submit(self, resources: list[Resource]) -> None:
        self.resources = resources

    def begin(self, _: Any) -> None:
        pass


def test_an_endpoint_that_cannot_be_translated_any_more_keeps_no_node_from_starting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its policy fits where a node has a store of its own."""
    policy = policy_text(*[rule(("rate-limit", LIMIT), ("forward-internal", FORWARD))] * 5)
    bad = endpoint("https://bad.test", UnixSocket("a.sock"), traffic_policy=policy, owner="me")
    good = replace(bad, url=endpoint("https://good.test").url, traffic_policy="")
    given: Any = Given()
    publisher = Publisher(given, FRAME, {one.url: one for one in (bad, good)}.get, lambda _: None, given)
    with caplog.at_level(logging.ERROR):
        publisher.begin([bad.url, good.url], [])
    names = " ".join(resource.name for resource in given.resources)
    assert "good.test" in names
    assert "bad.test" not in names
    (record,) = caplog.records
    assert (record.url, record.code) == ("https://bad.test", "PORTICO_20006")  # type: ignore[attr-defined]
