"""Policies with rate limits that nodes count together: their parts, and what their limits are called."""

import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from kit.policies import policy_text, rule
from kit.translated import endpoint
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import EndpointUrl, UnixSocket
from portico.model.errors import NOT_SERVED, PorticoError
from portico.model.limits import SharedCounts
from portico.translate.endpoints import endpoint_resources
from portico.translate.policy.together import Together

ALONE = EdgeFrame(
    domain="edge.test",
    https=SocketAddress("127.0.0.1", 443),
    http=SocketAddress("127.0.0.1", 80),
    tcp_host="127.0.0.1",
    agent_sockets=(),
    api_socket="api.sock",
    mark_header="x-mark",
    policy_script="policy.lua",
)
SHARED = replace(ALONE, shared_counts=SharedCounts(2))
LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s", "bucket_key": ["req.method"]}


def limiting_and_forwarding(rules: int, **more: str) -> str:
    """A rule for each of so many paths."""
    actions = ("rate-limit", LIMIT), ("forward-internal", {"url": "https://a.internal", **more})
    return policy_text(*(rule(*actions, when=[f"req.url.path == '/{number}'"]) for number in range(rules)))


def published(frame: EdgeFrame, policy: str, url: str = "https://a.test") -> str:
    made = endpoint_resources(endpoint(url, UnixSocket("a.sock"), traffic_policy=policy, owner="me"), frame)
    return json.dumps([resource.body for resource in made])


def test_envoy_counts_where_a_node_has_a_store_of_its_own() -> None:
    policy = policy_text(rule(("rate-limit", LIMIT)))
    assert "LocalRateLimit" in published(ALONE, policy)
    assert "LocalRateLimit" not in published(SHARED, policy)


def test_rules_that_limit_and_forward() -> None:
    published(SHARED, limiting_and_forwarding(20))
    published(ALONE, limiting_and_forwarding(20, on_error="continue"))
    published(SHARED, limiting_and_forwarding(3, on_error="continue"))
    with pytest.raises(PorticoError) as caught:
        published(SHARED, limiting_and_forwarding(4, on_error="continue"))
    assert caught.value.code is NOT_SERVED


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.test", "me https://a.test"),
        ("http://a.test", "me http://a.test"),
        ("https://a.internal", "me https://a.internal"),
        ("https://a.internal:8443", "me https://a.internal:8443"),
    ],
)
def test_a_limit_is_called_the_same_whatever_a_nodes_own_ports_are(url: str, name: str) -> None:
    written = EndpointUrl.parse(url)
    elsewhere = replace(SHARED, https=SocketAddress("127.0.0.1", 10_443), http=None)
    there: Any = structs.replace(written, port=10_443) if written.port == 443 else written
    found = [
        Together.of(endpoint(str(one), owner="me"), frame) for one, frame in ((written, SHARED), (there, elsewhere))
    ]
    assert found[0] is not None
    assert found[0].endpoint == name
    if written.port != 80:
        assert found[0] == found[1]
    assert Together.of(endpoint(url, owner="me"), ALONE) is None
