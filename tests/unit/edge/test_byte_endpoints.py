"""What control tells the gate of endpoints of tcp and tls."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from portico.edge.byte_endpoints import ToldGate, told
from portico.gate.byte_endpoints import DIRECTORY, ByteEndpoint, ByteEndpoints
from portico.model.endpoint import NOBODY, Endpoint, EndpointUrl, Networks, UnixSocket
from portico.policy.served import canonical_text

ADDRESSES = (UnixSocket("/run/r0/1.sock"),)
POLICY = '{"on_tcp_connect":[{"actions":[{"type":"deny"}]}]}'
PUBLIC, INNER = EndpointUrl.parse("tcp://edge.test:7000"), EndpointUrl.parse("tcp://inner.internal:1")
INSIDE = Networks(("10.0.0.0/8",))
CONFIGS: Mapping[str, Mapping[str, object]] = {
    "jwt-validation": {
        "issuer": {"allow_list": [{"value": "https://id.test"}]},
        "audience": {"allow_list": [{"value": "music"}]},
        "http": {"tokens": [{"type": "jwt", "method": "header", "name": "authorization", "prefix": "Bearer "}]},
        "jws": {"allowed_algorithms": ["RS256"], "keys": {"sources": {"additional_jkus": ["https://id.test/keys"]}}},
    },
    "openid-connect": {"issuer_url": "https://id.test", "client_id": "a", "client_secret": "b"},
    "oauth": {"provider": "github", "client_id": "a", "client_secret": "b"},
    "http-request": {"url": "https://id.test/"},
    "rate-limit": {
        "name": "a", "algorithm": "sliding_window", "capacity": 3, "rate": "60s", "bucket_key": ["conn.client_ip"],
    },
    "add-headers": {"headers": {"x-a": "1"}},
}  # fmt: skip


def endpoint(
    url: EndpointUrl | str, *, policy: str = "", online: bool = True, networks: Networks | None = None
) -> Endpoint:
    parsed = EndpointUrl.parse(url) if isinstance(url, str) else url
    addresses = ADDRESSES if online else ()
    return Endpoint(parsed, addresses, networks=networks, traffic_policy=policy, owner="o1")


@pytest.mark.parametrize(
    ("given", "serves"),
    [
        (endpoint(PUBLIC), None),
        (endpoint(PUBLIC, networks=INSIDE), None),
        (endpoint(PUBLIC, policy=POLICY), True),
        (endpoint(PUBLIC, policy=POLICY, online=False), False),
        (endpoint(INNER), True),
        (endpoint(INNER, online=False), None),
        (endpoint(INNER, policy=POLICY, online=False), False),
        (endpoint("https://edge.test", policy=POLICY), None),
        (endpoint("https://inner.internal", policy=POLICY), None),
    ],
)
def test_what_it_has_to_know(given: Endpoint, serves: bool | None) -> None:
    found = told(given)
    expected = ByteEndpoint(url=str(given.url), owner="o1", serves=bool(serves), policy=given.traffic_policy)
    assert found == (None if serves is None else expected)


@pytest.mark.parametrize(
    ("networks", "allow"), [(INSIDE, ["10.0.0.0/8"]), (Networks(("10.0.0.0/8",), ("10.0.0.0/8",)), list(NOBODY))]
)
def test_no_filter_chain_knows_the_networks_of_internal_ones(networks: Networks, allow: list[str]) -> None:
    found = told(endpoint(INNER, policy=POLICY, networks=networks))
    assert found is not None
    restricted, denied = json.loads(found.policy)["on_tcp_connect"]
    assert restricted == {"actions": [{"type": "restrict-ips", "config": {"allow": allow}}]}
    assert denied == {"actions": [{"type": "deny"}]}
    public = told(endpoint(PUBLIC, policy=POLICY, networks=networks))
    assert public is not None
    assert public.policy == POLICY


def test_it_follows_and_wakes_the_gate(tmp_path: Path) -> None:
    path = str(tmp_path / "gate.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        listening.setblocking(False)
        gate, known = ToldGate(tmp_path, path), ByteEndpoints(tmp_path / DIRECTORY)
        gate.begin([endpoint(INNER)])
        assert known.find(str(INNER))
        with pytest.raises(BlockingIOError):
            listening.accept()
        gate.tell(PUBLIC, endpoint(PUBLIC, policy=POLICY))
        listening.accept()[0].close()
    for gone in (None, endpoint(PUBLIC)):
        gate.tell(PUBLIC, endpoint(PUBLIC, policy=POLICY))  # nobody listens, which is no matter
        assert known.find(str(PUBLIC))
        gate.tell(PUBLIC, gone)
        assert known.find(str(PUBLIC)) is None
    ToldGate(tmp_path, path).begin([])
    assert known.find(str(INNER)) is None


@pytest.mark.parametrize(
    ("kind", "counts_together", "woken"),
    [
        ("jwt-validation", False, True),
        ("openid-connect", False, True),
        ("oauth", False, True),
        ("http-request", False, True),
        ("rate-limit", True, True),
        ("rate-limit", False, False),
        ("add-headers", True, False),
    ],
)
def test_it_wakes_the_gate_for_policies_of_requests_that_ask_it(
    tmp_path: Path, kind: str, counts_together: bool, woken: bool
) -> None:
    path = str(tmp_path / "gate.sock")
    asking = canonical_text({"on_http_request": [{"actions": [{"type": kind, "config": CONFIGS[kind]}]}]})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        listening.setblocking(False)
        gate = ToldGate(tmp_path, path, counts_together=counts_together)
        for change in (gate.begin, lambda found: gate.tell(found[0].url, found[0])):
            change([endpoint("https://edge.test", policy=asking)])
            if woken:
                listening.accept()[0].close()
            else:
                with pytest.raises(BlockingIOError):
                    listening.accept()
