"""What becomes of a connection, decided from the files that control writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit.policies import Rule, policy_text, rule
from portico.gate.byte_endpoints import ByteEndpoint, ByteEndpoints
from portico.gate.connections import Connections, Verdict, connection_values
from portico.model.endpoint import Scheme
from portico.translate.byte_policies import ENDPOINT

URL = "tcp://edge.test:7000"
INNER, FURTHER, TOO_FAR = (f"tcp://{name}.internal:1" for name in ("inner", "further", "toofar"))
TOLD = {
    ENDPOINT: URL,
    "conn.client_ip": "192.0.2.7",
    "conn.client_port": "40000",
    "conn.server_ip": "192.0.2.1",
    "conn.server_port": "7000",
    "conn.tls.sni": "-",
}
PASSES = Verdict(passes=True)


class Edge:
    """The gate, and endpoints that it is told of."""

    def __init__(self, directory: Path) -> None:
        self.files = ByteEndpoints(directory / "endpoints")
        self.files.keep([])
        self.connections = Connections(self.files)

    def put(self, url: str, *rules: Rule, owner: str = "o1", serves: bool = True) -> None:
        policy = policy_text(connect=rules, scheme=Scheme.TCP) if rules else ""
        self.files.put(ByteEndpoint(url=url, owner=owner, serves=serves, policy=policy))

    def decide(self, **told: str) -> Verdict:
        return self.connections.decide({**TOLD, **told})

    def passes(self, *rules: Rule, **told: str) -> bool:
        self.put(URL, *rules)
        return self.decide(**told).passes


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path)


def to(url: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "forward-internal", {"url": url, **more}


DENY = ("deny", {})


def test_nothing_is_known_of_what_was_never_told(edge: Edge) -> None:
    assert edge.decide() == Verdict()
    assert edge.connections.decide({}) == Verdict()


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("conn.client_ip == '192.0.2.7'", False),
        ("conn.client_ip == '192.0.2.8'", True),
        ("inCidrRange(conn.client_ip, '192.0.2.0/24')", False),
        ("conn.client_port == 40000", False),
        ("conn.server_ip == '192.0.2.1' && conn.server_port == 7000", False),
        ("endpoint.url == 'tcp://edge.test:7000' && endpoint.port == 7000", False),
        ("endpoint.addr == 'edge.test:7000' && endpoint.host == 'edge.test'", False),
        ("endpoint.protocol == 'tls'", True),
        ("timestamp(time.now) > timestamp('2020-01-01T00:00:00Z')", False),
        ("conn.tls.sni == 'a'", False),  # not known on tcp: a rule that could stop the visitor stops him
        ("rand.double() < 0.0", True),
        ("rand.int(3, 3) == 3", False),
        ("secrets.get('gone', 'gone') == 'x'", False),
    ],
)
def test_expressions(edge: Edge, expression: str, passes: bool) -> None:
    assert edge.passes(rule(DENY, when=[expression])) is passes


def test_chance_is_chance(edge: Edge) -> None:
    edge.put(URL, rule(DENY, when=["rand.int(0, 1) == 1"]))
    assert {edge.decide().passes for _ in range(100)} == {True, False}


def test_all_expressions_of_a_rule_must_hold(edge: Edge) -> None:
    assert edge.passes(rule(DENY, when=["true", "false"]))
    assert not edge.passes(rule(DENY, when=["true", "true"]))


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"allow": ["192.0.2.0/24"]}, True),
        ({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7/32"]}, False),
        ({"allow": ["198.51.100.0/24"]}, False),
        ({"allow": ["198.51.100.0/24"], "enforce": False}, True),
        ({"deny": ["198.51.100.0/24"]}, False),
        ({"ip_policies": ["ipp_whose_networks_are_not_filled_in"]}, False),
    ],
)
def test_networks(edge: Edge, config: dict[str, Any], passes: bool) -> None:
    assert edge.passes(rule(("restrict-ips", config), when=["true"])) is passes


def test_closing_is_closing(edge: Edge) -> None:
    assert not edge.passes(rule(("close-connection", {})))


def test_what_is_logged_and_what_ran_last(edge: Edge) -> None:
    metadata = {"who": "${conn.client_ip}", "port": "${conn.client_port}", "more": {"list": [1, True]}}
    edge.put(
        URL,
        rule(("set-vars", {"vars": [{"name": "x${conn.client_port}"}]})),
        rule(("log", {"metadata": metadata})),
        rule(("log", {"metadata": {"name": "${vars.name}"}}), name="second"),
        rule(DENY, when=["false"]),
    )
    verdict = edge.decide()
    logged = {"who": "192.0.2.7", "port": 40000, "more": {"list": [1, True]}, "name": "x40000"}
    assert verdict == Verdict(passes=True, facts={"rule": "second", "action": "log", "log": logged})
    edge.put(URL, rule(DENY, name="no"))
    assert edge.decide().noted() == {"rule": "no", "action": "deny"}


def test_a_refusal_by_a_failure_names_its_rule(edge: Edge) -> None:
    edge.put(URL, rule(DENY, when=["vars.none == 1"], name="broken"))
    assert edge.decide().noted() == {"rule": "broken"}


def test_bytes_pass_only_where_something_stands_behind(edge: Edge) -> None:
    edge.put(URL, rule(DENY, when=["false"]), serves=False)
    assert not edge.decide().passes


def test_forwarding(edge: Edge) -> None:
    edge.put(URL, rule(to("tcp://${'in' + 'ner'}.internal:1")), serves=False)
    assert not edge.decide().passes  # it is not online
    edge.put(INNER)
    assert edge.decide().noted() == {"rule": "on_tcp_connect[0]", "action": "forward-internal", "cluster": INNER}
    edge.files.remove(INNER)
    assert not edge.decide().passes


def test_only_the_same_owners(edge: Edge) -> None:
    edge.put(URL, rule(to(INNER)))
    edge.put(INNER, owner="o2")
    assert not edge.decide().passes


@pytest.mark.parametrize("url", ["https://inner.internal", "tcp://edge.test:7000", "nonsense", "tcp://inner.internal"])
def test_only_to_internal_endpoints_of_bytes(edge: Edge, url: str) -> None:
    edge.put(INNER)
    edge.put(URL, rule(("set-vars", {"vars": [{"to": url}]})), rule(to("${vars.to}")))
    assert not edge.decide().passes


def test_going_on_where_an_endpoint_is_not_there(edge: Edge) -> None:
    edge.put(URL, rule(to(INNER, on_error="continue"), to(FURTHER)))
    edge.put(FURTHER)
    assert edge.decide().cluster == FURTHER
    edge.put(INNER)
    assert edge.decide().cluster == INNER


def test_the_inner_policy_runs_with_its_own_endpoint(edge: Edge) -> None:
    edge.put(URL, rule(("log", {"metadata": {"outer": 1}})), rule(to(INNER)))
    edge.put(
        INNER,
        rule(("log", {"metadata": {"inner": "${endpoint.host}"}})),
        rule(DENY, when=["conn.client_port == 1"], name="low"),
    )
    assert edge.decide().noted()["log"] == {"outer": 1, "inner": "inner.internal"}
    refused = edge.decide(**{"conn.client_port": "1"})
    assert not refused.passes
    assert refused.facts["rule"] == "low"


def test_so_many_hops_as_requests_have(edge: Edge) -> None:
    edge.put(URL, rule(to(INNER)))
    edge.put(INNER, rule(to(FURTHER)))
    edge.put(FURTHER)
    assert edge.decide().cluster == FURTHER
    edge.put(FURTHER, rule(to(TOO_FAR)))
    edge.put(TOO_FAR)
    assert not edge.decide().passes
    edge.put(INNER, rule(to(INNER)))
    assert not edge.decide().passes


def test_what_envoy_tells() -> None:
    values = connection_values({**TOLD, "conn.tls.version": "TLSv1.3", "conn.tls.sni": "a.test"})
    assert values.pop("time.now").endswith("Z")
    assert values == {
        "conn.client_ip": "192.0.2.7",
        "conn.client_port": 40000,
        "conn.server_ip": "192.0.2.1",
        "conn.server_port": 7000,
        "conn.tls.sni": "a.test",
        "conn.tls.version": "1.3",
        "vars": {},
    }
    with pytest.raises(ValueError, match="invalid literal"):
        connection_values({"conn.client_port": "x"})


def test_when_a_connection_began_and_by_which_handshake() -> None:
    told = {
        "conn.ts.start": "2026-11-22T01:23:31.979Z",
        "conn.tls.ja4_fingerprint": "t13d1516h2_8daaf6152771_02713d6af862",
    }
    values = connection_values({**TOLD, **told})
    assert values["conn.ts.start"] == datetime(2026, 11, 22, 1, 23, 31, 979_000, tzinfo=UTC)
    assert values["conn.tls.ja4_fingerprint"] == told["conn.tls.ja4_fingerprint"]
