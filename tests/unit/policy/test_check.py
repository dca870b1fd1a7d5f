from typing import Any

import pytest

from portico.policy.actions import ACTIONS
from portico.policy.actions.action import Likeness
from portico.policy.check import MAX_EXPRESSIONS, check_policy, errors
from portico.policy.document import MAX_PROBLEMS
from portico.policy.problems import Severity
from portico.policy.results import result_roots

LOG = {"type": "log", "config": {"metadata": {"a": "b"}}}
DENY = {"type": "deny"}
TRY = {"type": "forward-internal", "config": {"url": "https://a.internal", "on_error": "continue"}}
ANSWER = {"type": "custom-response"}
FORWARD = {"type": "forward-internal", "config": {"url": "https://a.internal"}}


def told(policy: Any, severity: Severity = Severity.WARNING) -> list[str]:
    return [str(problem) for problem in check_policy(policy)[1] if problem.severity is severity]


@pytest.mark.parametrize(
    ("policy", "unreached"),
    [
        ({"on_tcp_connect": [{"actions": [DENY]}], "on_http_request": [{"actions": [LOG]}]}, ["on_http_request[0]"]),
        ({"on_http_request": [{"actions": [DENY]}], "on_http_response": [{"actions": [LOG]}]}, ["on_http_response[0]"]),
        ({"on_http_request": [{"actions": [FORWARD]}], "on_http_response": [{"actions": [LOG]}]}, []),
        ({"on_http_request": [{"actions": [ANSWER]}, {"actions": [LOG]}]}, ["on_http_request[1]"]),
        ({"on_http_request": [{"actions": [ANSWER]}], "on_http_response": [{"actions": [LOG]}]}, []),
        ({"on_http_response": [{"actions": [ANSWER]}, {"actions": [LOG]}]}, ["on_http_response[1]"]),
        ({"on_http_request": [{"actions": [FORWARD]}, {"actions": [DENY]}]}, ["on_http_request[1]"]),
        (
            {"on_tcp_connect": [{"actions": [FORWARD]}], "on_http_response": [{"actions": [LOG]}]},
            ["on_http_response[0]"],
        ),
        ({"on_http_request": [{"expressions": ["req.host == ''"], "actions": [DENY]}, {"actions": [LOG]}]}, []),
        (
            {"on_http_request": [{"expressions": ["1 < 2"], "actions": [DENY]}, {"actions": [LOG]}]},
            ["on_http_request[1]"],
        ),
        ({"on_http_request": [{"expressions": ["1 > 2"], "actions": [DENY]}, {"actions": [LOG]}]}, []),
        ({"on_http_request": [{"actions": [TRY, DENY]}]}, []),
    ],
)
def test_what_is_never_reached(policy: Any, unreached: list[str]) -> None:
    found = [text.split(":")[0] for text in told(policy) if "is never reached" in text]
    assert found == unreached


@pytest.mark.parametrize(
    ("config", "places"),
    [
        ({"status_code": 7, "body": "${nope}", "headers": {"a": "${req.hots}"}}, ["status_code", "body", "headers.a"]),
        ({"statusCode": 7, "nope": 1, "body": "${req.hots}"}, ["statusCode", "nope", "body"]),
    ],
)
def test_what_is_wrong_in_one_key_hides_nothing_in_another(config: dict[str, Any], places: list[str]) -> None:
    policy = {"on_http_request": [{"actions": [{"type": "custom-response", "config": config}]}]}
    problems = told(policy, Severity.ERROR)
    assert len(problems) == len(places)
    for place in places:
        assert any(f"config.{place}" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("expression", "warned"),
    [("vars.a == 1", False), ("vars.b == 1", True), ("has(vars.b) && vars.b == 1", False), ("vars['b'] == 1", False)],
)
def test_variables_that_nobody_sets(expression: str, warned: bool) -> None:
    rules = [
        {"actions": [{"type": "set-vars", "config": {"vars": [{"a": 1}, {"c": "${vars.a}"}]}}]},
        {"expressions": [expression], "actions": [LOG]},
    ]
    assert bool(told({"on_http_request": rules})) is warned


def test_the_note_for_cloud_endpoints() -> None:
    assert told({"on_http_request": [{"actions": [LOG]}]}, Severity.NOTE)
    assert not told({"on_http_request": [{"actions": [LOG]}, {"actions": [DENY]}]}, Severity.NOTE)
    assert not told({"on_tcp_connect": [{"actions": [{"type": "terminate-tls"}]}]}, Severity.NOTE)


def test_work_has_a_bound() -> None:
    rules = [{"expressions": ["req.host == 'a'"] * MAX_EXPRESSIONS, "actions": [LOG]}]
    assert not told({"on_http_request": rules}, Severity.ERROR)
    rules = [{"expressions": ["req.host == 'a'"] * (MAX_EXPRESSIONS + 1), "actions": [LOG]}]
    assert len(told({"on_http_request": rules}, Severity.ERROR)) == 1
    _, problems = check_policy({"on_http_request": [{}] * (MAX_PROBLEMS + 9)})
    assert len(problems) == MAX_PROBLEMS


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_says_what_it_is(kind: str) -> None:
    action = ACTIONS[kind]
    assert action.PHASES
    assert action.MEANING
    assert all(field.description for field in action.model_fields.values())
    assert action.COMPARED.likeness is Likeness.SAME or action.COMPARED.how


def test_every_result_can_be_named() -> None:
    texts = [f"${{{root}.{name}}}" for root, fields in result_roots().items() for name in fields]
    policy = {"on_http_response": [{"actions": [{"type": "log", "config": {"metadata": {"all": texts}}}]}]}
    assert not errors(check_policy(policy)[1])
