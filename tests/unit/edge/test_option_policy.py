import json
from typing import Any

import pytest

from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.option_policy import host_header, option_policy
from portico.model.endpoint import Scheme
from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.policy.document import read_policy
from portico.policy.explain import explain
from portico.policy.request import Visit
from portico.tunnel.messages import BindOptions


def rules(**options: Any) -> dict[str, Any]:
    """The rules of options as they come over the wire, which a door takes."""
    found = option_policy(BindOptions(**options))
    return dict(json.loads(endpoint_policy([found], Scheme.HTTPS).text or "{}"))


def actions(phase: str = "on_http_request", **options: Any) -> list[dict[str, Any]]:
    return [action for rule in rules(**options)[phase] for action in rule["actions"]]


def status(visit: Visit, **options: Any) -> int:
    return explain(read_policy(rules(**options)).policy, visit).status


def test_no_option_is_no_rule() -> None:
    assert rules() == {}
    assert rules(request_headers={"add": ["Host: other.example"], "remove": []}) == {}


def test_passwords() -> None:
    credentials = [
        {"username": "u", "cleartext_password": "pass${word}"},
        {"username": "v", "cleartext_password": "a:long:one"},
    ]
    found = actions(basic_auth={"credentials": credentials})
    assert found == [{"type": "basic-auth", "config": {"credentials": ["u:pass${'${'}word}", "v:a:long:one"]}}]
    with pytest.raises(PorticoError) as refused:
        rules(basic_auth={"credentials": [{"username": "u", "cleartext_password": "hunter2"}]})
    assert refused.value.code is BIND_INVALID
    assert "hunter2" not in str(refused.value)


def test_headers_of_both_ways() -> None:
    found = rules(
        request_headers={"add": ["x-a: 1", "x-b:2", "host: other.example"], "remove": ["x-c"]},
        response_headers={"add": ["x-d: ${x}"], "remove": []},
    )
    request = [
        (action["type"], action["config"]["headers"]) for rule in found["on_http_request"] for action in rule["actions"]
    ]
    assert request == [("remove-headers", ["x-c"]), ("add-headers", {"x-a": "1"}), ("add-headers", {"x-b": "2"})]
    assert found["on_http_response"][0]["actions"][0]["config"] == {"headers": {"x-d": "${'${'}x}"}}


def test_many_headers_are_removed_ten_by_ten() -> None:
    found = actions(request_headers={"remove": [f"x-{number}" for number in range(25)]})
    assert [len(action["config"]["headers"]) for action in found] == [10, 10, 5]


@pytest.mark.parametrize(
    ("agent", "given", "wanted"),
    [
        ("curl/8", {"allow": ["^curl"]}, 200),
        ("wget/1", {"allow": ["^curl"]}, 403),
        ("curl/8", {"deny": ["^curl"]}, 403),
        ("wget/1", {"deny": ["^curl"]}, 200),
        ("curl/8 good", {"allow": ["good$"], "deny": ["^curl"]}, 200),
        ("curl/8", {"allow": ["good$"], "deny": ["^curl"]}, 403),
        ("wget/1", {"allow": ["good$"], "deny": ["^curl"]}, 200),
        ('a"b\\c', {"deny": ['"b\\\\c$']}, 403),
    ],
)
def test_user_agents(agent: str, given: dict[str, list[str]], wanted: int) -> None:
    assert status(Visit("https://a.example/", headers=[("user-agent", agent)]), user_agent_filter=given) == wanted


def test_other_options_become_their_actions() -> None:
    assert actions(circuit_breaker={"error_threshold": 0.25})[0]["config"] == {"error_threshold": 0.25}
    assert actions("on_http_response", compression={})[0]["type"] == "compress-response"
    webhook = actions(webhook_verification={"provider": "github", "secret": "s"})
    assert webhook[0] == {"type": "verify-webhook", "config": {"provider": "github", "secret": "s"}}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"basic_auth": {}}, BIND_INVALID),
        ({"basic_auth": {"credentials": ["u:p"]}}, BIND_INVALID),
        ({"request_headers": {"add": ["no colon"]}}, BIND_INVALID),
        ({"request_headers": {"add": "x: y"}}, BIND_INVALID),
        ({"response_headers": {"remove": [1]}}, BIND_INVALID),
        ({"user_agent_filter": {"deny": ["("]}}, BIND_INVALID),
        ({"webhook_verification": {"provider": "nobody", "secret": "s"}}, BIND_INVALID),
        ({"circuit_breaker": {"error_threshold": 7.0}}, BIND_INVALID),
        ({"oauth": {"provider": "google"}}, BIND_INVALID),
    ],
)
def test_options_that_nothing_can_be_made_of(options: dict[str, Any], code: object) -> None:
    with pytest.raises(PorticoError) as refused:
        rules(**options)
    assert refused.value.code in (code, NOT_SERVED)


def test_the_host_header() -> None:
    options = BindOptions(request_headers={"add": ["Host: other.example:81"]})
    assert host_header(options) == "other.example:81"
    assert host_header(BindOptions()) is None
