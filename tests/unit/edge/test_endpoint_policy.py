import pytest

from kit.policies import policy_text, rule
from portico.edge.endpoint_policy import endpoint_policy
from portico.model.endpoint import Scheme
from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError


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
    deny = {"actions": [{"type": "deny"}]}
    for phase, words in (("on_http_request", "no requests"), ("on_tcp_connect", "not offered deny")):
        with pytest.raises(PorticoError, match=words) as refused:
            endpoint_policy([{phase: [deny]}], scheme)
        assert refused.value.code is NOT_SERVED


def test_nothing_is_no_policy() -> None:
    assert endpoint_policy(["", {}], Scheme.TCP).text == ""


LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s", "bucket_key": ["req.method"]}


def test_too_many_waits_are_refused() -> None:
    waits = rule(("verify-webhook", {"provider": "github", "secret": "hunter22"}))
    limits = rule(("rate-limit", LIMIT))
    policy_text(limits, waits, limits, waits, limits, waits, limits, waits)
    with pytest.raises(PorticoError, match="5 parts that wait"):
        policy_text(*[waits, limits] * 4)
