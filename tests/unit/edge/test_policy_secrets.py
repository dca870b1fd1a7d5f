import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.policy_secrets import missing_secrets, with_secrets
from portico.policy.document import read_policy
from portico.policy.expressions import Expression, compile_expression, evaluate

SECRETS = {("v", "s"): 'hu"s}h', ("v", "t"): "${req.host}"}


def value_of(vault: str, name: str) -> str | None:
    return SECRETS.get((vault, name))


def filled(expression: str = "true", body: str = "") -> tuple[str, str]:
    """An expression and a template of a rule, with their secrets."""
    config = {"status_code": 200, "body": body}
    rule = {"expressions": [expression], "actions": [{"type": "custom-response", "config": config}]}
    found = with_secrets(json.dumps({"on_http_request": [rule]}), value_of)
    assert read_policy(found).problems == []
    made: Any = json.loads(found)["on_http_request"][0]
    return made["expressions"][0], made["actions"][0]["config"]["body"]


def value(expression: str) -> object:
    compiled = compile_expression(expression)
    assert isinstance(compiled, Expression)
    return evaluate(compiled, {})


def test_values_stand_in_place_of_the_calls() -> None:
    text, body = filled("secrets.get('v', 's') == secrets . get( \"v\",\"t\" )", "Bearer ${secrets.get('v', 's')}!")
    assert text == '"hu\\U00000022s}h" == "${req.host}"'
    assert body == 'Bearer ${"hu\\U00000022s}h"}!'


@pytest.mark.parametrize(
    "expression",
    ["secrets.get('v', 'none') == ''", "secrets.get(req.host, 's') == ''", "\"secrets.get('v', 's')\" == req.host"],
)
def test_what_is_not_there_or_no_call_stays_as_it_was_written(expression: str) -> None:
    assert filled(expression, "secrets.get('v', 's')") == (expression, "secrets.get('v', 's')")


def test_fields_that_are_expressions_are_filled_too() -> None:
    config = {"url": "https://x.test", "method": "GET", "retry_condition": "secrets.get('v', 't') != ''"}
    text = json.dumps({"on_http_request": [{"actions": [{"type": "http-request", "config": config}]}]})
    found: Any = json.loads(with_secrets(text, value_of))
    condition = found["on_http_request"][0]["actions"][0]["config"]["retry_condition"]
    assert condition == "\"${req.host}\" != ''"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50))
def test_every_value_means_itself(secret: str) -> None:
    SECRETS["v", "any"] = secret
    text, _ = filled("secrets.get('v', 'any') == ''")
    assert value(text.removesuffix(" == ''")) == secret


def test_what_is_not_there_is_named() -> None:
    texts = [
        "secrets.get('v', 's') == secrets.get('v', 'gone')",
        "secrets.get('w', 's') != \"secrets.get('no', 'call')\"",
    ]
    action = {"type": "custom-response", "config": {"status_code": 200, "body": "${secrets.get('v', 'gone')}"}}
    policy = json.dumps({"on_http_request": [{"expressions": texts, "actions": [action]}]})
    assert missing_secrets(policy, value_of) == ["v/gone", "w/s"]
    assert missing_secrets('{"on_http_request":[]}', value_of) == []
