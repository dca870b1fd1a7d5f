import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.policy.actions import ACTIONS
from portico.policy.check import check_policy
from portico.policy.document import read_policy
from portico.policy.phases import Phase
from portico.policy.problems import Mark, Problem
from portico.policy.text import MAX_TEXT

YAML = """
on_tcp_connect:
  - name: modern
    actions:
      - type: terminate-tls
        config:
          min_version: "1.3"
"""


def test_yaml_json_and_objects_say_the_same() -> None:
    reading = read_policy(YAML)
    assert not reading.problems
    (action,) = reading.policy.actions()
    assert (action.phase, action.type, action.place) == (
        Phase.TCP_CONNECT,
        "terminate-tls",
        "on_tcp_connect[0].actions[0]",
    )
    rule = {"name": "modern", "actions": [{"type": "terminate-tls", "config": {"minVersion": "1.3"}}]}
    assert [one.config for one in read_policy({"onTcpConnect": [rule]}).policy.actions()] == [action.config]
    text = (
        '{\n\t"on_tcp_connect":[{"name":"modern","actions":[{"type":"terminate-tls","config":{"min_version":"1.3"}}]}]}'
    )
    assert read_policy(text).policy == reading.policy


def test_json_of_every_kind_is_read() -> None:
    written = {"on_http_request": [{"name": 'a\U0001f600\u00e9/\\ \\ud83d"<', "actions": [{"type": "deny"}]}]}
    for text in (json.dumps(written), json.dumps(written, ensure_ascii=False), json.dumps(written, indent="\t")):
        for escaped in (text, text.replace("/", "\\/")):
            reading = read_policy(escaped)
            assert not reading.problems
            assert reading.policy.on_http_request[0].name == written["on_http_request"][0]["name"]


def test_older_sdks_call_the_phases_otherwise() -> None:
    rule = {"Name": "x", "Actions": [{"Type": "deny"}]}
    policy = read_policy({"Inbound": [rule], "Outbound": [], "Enabled": True}).policy
    assert [rule.name for rule in policy.on_http_request] == ["x"]


@pytest.mark.parametrize(
    "policy", ["", "{}", "on_http_request: []", {"on_http_request": None}, "enabled: false\n" + YAML]
)
def test_nothing_is_said(policy: str | dict[str, object]) -> None:
    reading = read_policy(policy)
    assert (list(reading.policy.actions()), reading.problems) == ([], [])


@pytest.mark.parametrize(
    ("policy", "mark", "words"),
    [
        ("{", "2:1", "neither JSON nor YAML"),
        ("- a", "1:1", "no object of phases"),
        ("on_tcp_connect: {a: b}", "1:1", "no list of rules"),
        ("on_tcp_connect: [a]", "1:18", "is no object"),
        ("on_tcp_connect: [{}]", "1:18", "has no list of actions"),
        ("on_tcp_connect: [{action: []}]", "1:19", "did you mean actions?"),
        ("on_tcp_connect: [{actions: [{config: {}}]}]", "1:29", "has no type"),
        ("on_tcp_connect: [{actions: [{type: deny, config: 1}]}]", "1:42", "must be a mapping"),
        ("on_tcp_connect:\n- actions:\n  - {type: deni}", "3:6", "did you mean deny?"),
        ("on_http_request: [{actions: [{type: deny, config: {status_code: '1'}}]}]", "1:52", "must be a whole number"),
        (
            "on_http_request: [{actions: [{type: deny, config: {statusCode: 1}}]}]",
            "1:52",
            "greater than or equal to 200",
        ),
        ("on_http_request: [{actions: [{type: deny, config: {status_code: 404, statusCode: 404}}]}]", "1:43", "twice"),
        ("on_tcp_connect: [{actions: [{type: deny}], expressions: [1]}]", "1:58", "must be text"),
        ("on_tcp_connect: [{actions: [{type: jwt-validation}]}]", "1:30", "belongs into the phase on_http_request"),
        (
            'on_http_response: [{actions: [{type: add-headers, config: {headers: {x: "a\\r\\nb: c"}}}]}]',
            "1:70",
            "has a control character or a line break",
        ),
        (
            "on_http_request: [{actions: [{type: jwt-validation, config: {issuer: {allow_list: [{value: a}]}, "
            "http: {tokens: [{type: jwt, method: header, name: a}]}, "
            "jws: {allowed_algorithms: [RS256], keys: [{sources: {additional_jkus: ['file:///keys']}}]}}}]}]",
            "1:225",
            "an http or https URL",
        ),
        (
            "on_http_request: [{actions: [{type: verify-webhook, config: {provider: github, secret: ''}}]}]",
            "1:80",
            "must not be empty",
        ),
        ("on_event_stream_message: []", "1:1", "not offered"),
        ("on_http_request: []\non_http_request: []", "2:1", "given twice"),
        ("{1: []}", "1:2", "a key that is no text"),
        ("a: &a [b]\nc: *a", "2:4", "alias"),
        ("[" * 100, "1:61", "deeper"),
        ("a" * (MAX_TEXT + 1), "1:1", "longer than"),
        ("a: \x00", "1:1", "neither JSON nor YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(policy: str, mark: str, words: str) -> None:
    assert any(
        (str(problem.mark), words in str(problem)) == (mark, True) for problem in read_policy(policy).problems
    ), [(str(problem.mark), str(problem)) for problem in read_policy(policy).problems]


def test_everything_wrong_is_said_at_once() -> None:
    text = "on_http_request:\n- actions: [{type: denny}]\n- actions: [{type: log}]\n  expressions: nope\non_htp: []\n"
    problems = read_policy(text).problems
    assert {problem.mark.line for problem in problems} == {2, 3, 4, 5}


@pytest.mark.parametrize("style", ["plain", "'single'", '"double"', "|block"])
def test_a_slip_in_a_text_has_its_own_column(style: str) -> None:
    value = "ok ${req.hots}"
    written = {
        "plain": f"          x-a: {value}",
        "'single'": f"          x-a: 'it''s {value}'",
        '"double"': f'          x-a: "\\u00e9 {value}"',
        "|block": f"          x-a: |\n            first\n            {value}",
    }[style]
    text = f"on_http_request:\n  - actions:\n    - type: log\n      config:\n        metadata:\n{written}\n"
    (problem,) = [problem for problem in check_policy(text)[1] if "req.hots" in problem.text]
    line = text.split("\n")[problem.mark.line - 1]
    assert line[problem.mark.column - 1 :].startswith("req.hots")


KEYS = """
on_tcp_connect on_http_request onHttpResponse actions type config min_version expressions headers from to body vars url
credentials replacements metadata bucket_key
"""
NAMES = st.sampled_from(KEYS.split())
TEXTS = st.sampled_from([*ACTIONS, "${req.host}", "${", "req.host == 'a'", "1.3", "true", "60s", "a:bcdefghij"])
VALUES = st.recursive(
    NAMES | TEXTS | st.text(max_size=9) | st.integers() | st.none() | st.booleans() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ACTION = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(ACTIONS))}, optional={"config": st.dictionaries(NAMES, VALUES, max_size=4)}
)
RULE = st.fixed_dictionaries(
    {"actions": st.lists(ACTION, min_size=1, max_size=3)}, optional={"expressions": st.lists(TEXTS, max_size=2)}
)
POLICIES = st.dictionaries(st.sampled_from(list(Phase)), st.lists(RULE, max_size=2), min_size=1)


@given(VALUES | st.text(max_size=60) | POLICIES | POLICIES.map(lambda policy: json.dumps(policy, default=str)))
def test_no_policy_raises_anything(policy: object) -> None:
    _, problems = check_policy(policy if isinstance(policy, str | dict) else {"on_tcp_connect": policy})
    assert all(isinstance(problem, Problem) and isinstance(problem.mark, Mark) for problem in problems)
