import json

import pytest

from kit.policies import policy_text, rule
from portico.edge.endpoint_policy import EndpointPolicy, endpoint_policy
from portico.model.endpoint import NOBODY, Networks, Scheme
from portico.model.errors import BIND_INVALID, NOT_SERVED, URL_INVALID, PorticoError


@pytest.mark.parametrize("name", ["x-edge-class", "X-Edge-Host", "content-length", "Transfer-Encoding"])
@pytest.mark.parametrize("kind", ["add-headers", "remove-headers"])
def test_no_policy_touches_what_the_edge_goes_by(name: str, kind: str) -> None:
    config = {"headers": {name: "x"} if kind == "add-headers" else [name]}
    with pytest.raises(PorticoError, match="the edge's own matter") as refused:
        policy_text(rule((kind, config)))
    assert refused.value.code is BIND_INVALID


def test_everything_that_is_wrong_is_told() -> None:
    with pytest.raises(PorticoError) as refused:
        policy_text(rule(("denny", {})), rule(("deny", {"status": 1}), when=["req.metod == 'GET'"]))
    assert len(refused.value.problems) == 3
    assert "(and 2 more)" in refused.value.message


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ([rule(("verify-webhook", {"provider": "zulu", "secret": "hunter22"}))], "no provider"),
        ([rule(("verify-webhook", {"provider": "sns", "secret": "hunter22"}))], "cannot verify webhooks of sns"),
    ],
)
def test_what_cannot_run_is_refused(rules: list[dict[str, object]], word: str) -> None:
    with pytest.raises(PorticoError, match=word) as refused:
        policy_text(*rules)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("scheme", [Scheme.TCP, Scheme.TLS])
def test_bytes_have_no_requests(scheme: Scheme) -> None:
    with pytest.raises(PorticoError, match="no requests of HTTP") as refused:
        endpoint_policy([{"on_http_request": [rule(("deny", {}))]}], scheme)
    assert refused.value.code is NOT_SERVED


def connect(*actions: tuple[str, dict[str, object]], when: tuple[str, ...] = ()) -> dict[str, object]:
    return {"on_tcp_connect": [rule(*actions, when=when)]}


ALLOW = ("restrict-ips", {"allow": ["10.0.0.0/8"]})


def test_networks_alone_ask_nobody() -> None:
    found = endpoint_policy([connect(ALLOW), connect(("restrict-ips", {"deny": ["10.1.0.0/16"]}))], Scheme.TCP)
    assert found == EndpointPolicy("", None, Networks(NOBODY))
    assert endpoint_policy([connect(ALLOW)], Scheme.TLS).networks == Networks(("10.0.0.0/8",))
    assert endpoint_policy([connect(("restrict-ips", {**ALLOW[1], "enforce": False}))], Scheme.TCP).networks is None


@pytest.mark.parametrize(
    "policy",
    [
        connect(ALLOW, when=("conn.client_port > 1024",)),
        connect(ALLOW, ("log", {"metadata": {"a": "b"}})),
        connect(("restrict-ips", {"ip_policies": ["ipp_1"]})),
        connect(("deny", {})),
        connect(("close-connection", {})),
        connect(("set-vars", {"vars": [{"a": 1}]})),
        connect(("forward-internal", {"url": "tls://inner.internal"})),
        connect(("forward-internal", {"url": "tcp://${vars.a}.internal:1"})),
    ],
)
@pytest.mark.parametrize("scheme", [Scheme.TCP, Scheme.TLS])
def test_all_else_asks_the_gate(policy: dict[str, object], scheme: Scheme) -> None:
    found = endpoint_policy([policy], scheme)
    assert found.networks is None
    assert json.loads(found.text).keys() == {"on_tcp_connect"}


def test_what_tls_is_to_be_is_no_question() -> None:
    found = endpoint_policy([connect(("terminate-tls", {}), ("deny", {}))], Scheme.TLS)
    assert found.terminate is not None
    assert "terminate" not in found.text


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (connect(("forward-internal", {"url": "https://inner.internal"})), NOT_SERVED),
        (connect(("forward-internal", {"url": "tcp://inner.internal"})), URL_INVALID),
        (connect(("forward-internal", {"url": "tcp://inner.example:1"})), BIND_INVALID),
        (connect(("deny", {}), when=("req.method == 'GET'",)), BIND_INVALID),
        (connect(("deny", {}), when=("conn.geo.country_code == 'x'",)), NOT_SERVED),
        (connect(("log", {"metadata": {"as": "${conn.client_ip.as.number}"}})), NOT_SERVED),
        (connect(("custom-response", {"body": "x"})), BIND_INVALID),
    ],
)
def test_what_no_connection_can_have(policy: dict[str, object], code: object) -> None:
    with pytest.raises(PorticoError) as refused:
        endpoint_policy([policy], Scheme.TCP)
    assert refused.value.code is code


def test_nothing_is_no_policy() -> None:
    assert endpoint_policy(["", {}], Scheme.TCP).text == ""


LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s", "bucket_key": ["req.method"]}


def test_too_many_waits_are_refused() -> None:
    waits = rule(("verify-webhook", {"provider": "github", "secret": "hunter22"}))
    limits = rule(("rate-limit", LIMIT))
    policy_text(limits, waits, limits, waits, limits, waits, limits, waits)
    with pytest.raises(PorticoError, match="5 parts that wait"):
        policy_text(*[waits, limits] * 4)
