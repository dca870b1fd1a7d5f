import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.errors import PorticoError
from portico.policy.check import check_policy, errors
from portico.policy.effects import End
from portico.policy.explain import Explanation, explain
from portico.policy.request import Visit, flat


def explained(rules: list[dict[str, Any]], phase: str = "on_http_request", **visit: Any) -> Explanation:
    policy, problems = check_policy({phase: rules})
    assert not errors(problems), problems
    return explain(policy, Visit(**{"url": "https://app.example.com/a?b=c", **visit}))


def action(kind: str, **config: Any) -> dict[str, Any]:
    return {"type": kind, "config": {key.rstrip("_"): value for key, value in config.items()}}


def fails(expression: str, *actions: dict[str, Any], phase: str = "on_http_request") -> Explanation:
    return explained([{"expressions": [expression], "actions": list(actions)}], phase)


FAILING = "vars.nope == 1"


@pytest.mark.parametrize(
    "stopping",
    [
        action("deny"),
        action("close-connection"),
        action("custom-response", status_code=403),
        action("restrict-ips", allow=["192.0.2.0/24"]),
        action("basic-auth", credentials=["ann:correct horse"]),
        action("verify-webhook", provider="github", secret="s"),
        action("rate-limit", name="a", algorithm="sliding_window", capacity=1, rate="60s", bucket_key=["req.host"]),
        action("redirect", to="https://elsewhere.example"),
        action("http-request", url="https://a.internal", on_error="halt"),
        action("circuit-breaker"),
        action("oauth", provider="google", client_id="a", client_secret="b"),
    ],
    ids=lambda one: one["type"],
)
def test_a_failing_expression_lets_nobody_through_that_its_rule_could_stop(stopping: dict[str, Any]) -> None:
    found = fails(FAILING, action("add-headers", headers={"a": "b"}), stopping)
    assert (found.ending and found.ending.status, found.rules[0].refused) == (403, True)


def test_a_failing_expression_passes_over_a_rule_that_stops_nobody() -> None:
    found = fails(FAILING, action("add-headers", headers={"a": "b"}), action("log", metadata={"a": "b"}))
    assert (found.ending, found.rules[0].refused, found.rules[0].fires) == (None, False, False)


@pytest.mark.parametrize(
    "looking",
    [
        action("basic-auth", credentials=["ann:correct horse"], enforce=False),
        action("restrict-ips", allow=["192.0.2.0/24"], enforce=False),
        action("http-request", url="https://a.internal"),
        action("forward-internal", url="https://a.internal"),
    ],
    ids=lambda one: one["type"],
)
def test_nor_one_that_only_looks_or_routes(looking: dict[str, Any]) -> None:
    assert fails(FAILING, looking).ending is None


def test_in_on_tcp_connect_the_connection_is_closed() -> None:
    found = fails(FAILING, action("deny"), phase="on_tcp_connect")
    assert found.ending is not None
    assert found.ending.kind is End.CLOSED


@pytest.mark.parametrize(
    ("stopping", "status"),
    [
        (action("restrict-ips", allow=["${vars.nope}"]), 403),
        (action("basic-auth", credentials=["ann:correct horse", "${vars.nope}"]), 401),
        (action("custom-response", body="${vars.nope}"), 403),
        (action("redirect", to="${vars.nope}"), 403),
        (action("redirect", from_=".*", to="http://["), 403),
        (action("custom-response", headers={"x": "${'a' + '\\n' + 'b: c'}"}), 403),
        (action("forward-internal", url="https://${req.host}"), 502),
        (action("forward-internal", url="https://${vars.nope}"), 403),
        (action("custom-response", body="${[0.0 / 0.0]}"), 403),
    ],
)
def test_an_action_that_cannot_be_filled_refuses(stopping: dict[str, Any], status: int) -> None:
    found = explained([{"actions": [stopping]}])
    assert found.ending is not None
    assert found.ending.status == status


def test_a_secret_of_the_policy_is_in_no_answer() -> None:
    found = explained(
        [{"actions": [action("basic-auth", credentials=["ann:hunter2hunter2", "${'hunter2' + vars.x}:abcdefgh"])]}]
    )
    assert "hunter2" not in repr(found)


def test_phases_run_in_order_and_a_forwarded_request_has_its_response() -> None:
    policy, problems = check_policy(
        {
            "on_tcp_connect": [{"actions": [action("set-vars", vars=[{"a": "${conn.client_ip}"}])]}],
            "on_http_request": [{"actions": [action("forward-internal", url="https://a.internal")]}],
            "on_http_response": [
                {
                    "expressions": ["res.status_code == 404", "getResHeader('X-A') == ['1']"],
                    "actions": [action("custom-response", status_code=410, body="${vars.a} ${req.url.path}")],
                }
            ],
        }
    )
    assert not errors(problems)
    found = explain(policy, Visit("https://a.example/p", status=404, response_headers=[("x-a", "1")]))
    assert [ran.fires for ran in found.rules] == [True, True, True]
    assert (found.status, found.ending and found.ending.body) == (410, "192.0.2.1 /p")


def test_the_rules_of_the_response_see_what_custom_response_answers() -> None:
    policy, problems = check_policy(
        {
            "on_http_request": [
                {"expressions": ["req.url.path == '/no'"], "actions": [action("deny")]},
                {"actions": [action("custom-response", status_code=418, body="tea", headers={"x-a": "1"})]},
            ],
            "on_http_response": [
                {
                    "expressions": ["res.status_code == 418", "res.content_length == 3"],
                    "actions": [action("add-headers", headers={"x-a": "${res.content_type}"})],
                },
            ],
        }
    )
    assert not errors(problems)
    found = explain(policy, Visit("https://a.example/", status=200, response_headers=[("x-own", "1")]))
    assert found.ending is not None
    assert (found.status, found.ending.body, found.reached) == (418, "tea", False)
    assert found.ending.headers == {"x-a": "1, text/plain", "content-type": "text/plain; charset=utf-8"}
    denied = explain(policy, Visit("https://a.example/no"))
    assert [ran.place for ran in denied.rules] == ["on_http_request[0]"]


def test_a_rewritten_url_is_what_later_rules_and_the_upstream_see() -> None:
    rules = [
        {"actions": [action("url-rewrite", from_="/a\\?", to="/x y/é?")]},
        {"expressions": ["req.url.query_params['b'] == ['c']"], "actions": [action("log", metadata={"a": "b"})]},
    ]
    found = explained(rules)
    assert found.upstream_url.startswith("https://app.example.com/x")
    assert found.rules[1].fires


@pytest.mark.parametrize("url", ["tcp://app.example.com:22", "tls://app.example.com"])
def test_what_is_no_http_is_explained_as_far_as_it_goes(url: str) -> None:
    policy, _ = check_policy(
        {
            "on_tcp_connect": [{"expressions": ["conn.client_ip == '203.0.113.1'"], "actions": [action("deny")]}],
            "on_http_request": [{"actions": [action("deny")]}],
        }
    )
    assert str(explain(policy, Visit(url))) == f"passes to the upstream ({url})"
    assert str(explain(policy, Visit(url, client_ip="203.0.113.1"))) == "the connection is closed"


def test_cookies_and_headers_of_a_request() -> None:
    rule = {
        "expressions": [
            "req.cookies['s'][0].value == '1' && getReqCookie('t').value == '2'",
            "req.content_type == 'text/html' && req.content_type.parameters['charset'] == 'utf-8'",
            "req.headers['x-a'] == ['1', '2'] && req.host == 'app.example.com' && req.user_agent == ''",
        ],
        "actions": [action("deny")],
    }
    headers = [("Cookie", "s=1; t=2"), ("X-A", "1"), ("x-a", "2"), ("Content-Type", 'Text/HTML; charset="utf-8"')]
    assert explained([rule], headers=headers).status == 403


URLS = st.text(alphabet="htps:/.@[]?&#=%aé 1", max_size=20).map(lambda tail: f"https://a.example{tail}") | st.text(
    max_size=20
)
TEXTS = st.text(max_size=12)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["cookie", "host", "authorization", "content-type", "Content-Length", "x"]), TEXTS),
    max_size=4,
)
POLICY = {
    "on_http_request": [
        {"expressions": ["getReqHeader('x').size() > 1 || req.url.path.startsWith('/a')"], "actions": [action("deny")]},
        {
            "actions": [
                action("basic-auth", credentials=["ann:correct horse"], enforce=False),
                action("url-rewrite", from_="a(.)", to="$1${1}$9"),
                action("set-vars", vars=[{"all": "${req.url.query_params}"}, {"text": "${vars.all} ${req.cookies}"}]),
                action(
                    "log", metadata={"all": "${vars}", "headers": "${req.headers}", "type": "${req.content_type.raw}"}
                ),
                action("request-body-find-replace", replacements=[{"from": "(.)", "to": "$1$1"}]),
                action("redirect", from_="b", to="${req.url.query}"),
            ]
        },
    ],
    "on_http_response": [
        {"actions": [action("compress-response"), action("add-headers", headers={"a": "${res.cookies}"})]}
    ],
}


@given(url=URLS, headers=HEADERS, body=st.none() | TEXTS, answered=HEADERS)
def test_no_visit_raises_anything_but_our_own(
    url: str, headers: list[tuple[str, str]], body: str | None, answered: list[tuple[str, str]]
) -> None:
    policy, problems = check_policy(POLICY)
    assert not errors(problems), problems
    visit = Visit(url, headers=headers, body=body, response_headers=[*answered, ("set-cookie", f"a={url}; path=/")])
    try:
        json.dumps(repr(explain(policy, visit)))
    except PorticoError:
        return


VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["req", "conn", "url", "path", "tls", "vars", "actions", "ngrok", "oauth"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["req", "conn", "vars", "actions", "res", "x"]), VALUES))
def test_no_facts_raise_anything_but_our_own(facts: dict[str, Any]) -> None:
    policy, _ = check_policy(POLICY)
    try:
        explain(policy, Visit("https://a.example/", facts=flat(facts)))
    except PorticoError:
        return
