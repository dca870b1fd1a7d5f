"""What the gate and the policies' runtime say to each other is written down on both sides."""

import msgspec

from kit.lua import lua
from portico.gate import browsers, errands, outbound, questions
from portico.policy.actions.http_request import HttpRequest
from portico.translate import names
from portico.translate.policy.actions import sign_in
from portico.translate.policy.runtime_source import runtime_source


def test_headers() -> None:
    assert sign_in._HEADERS == browsers.HEADERS
    assert (outbound._CLASS_HEADER, outbound._HOST_HEADER) == (names.CLASS_HEADER, names.HOST_HEADER)
    assert f'"{errands.HOPS}"' in runtime_source()


def test_methods_of_requests() -> None:
    asked = {field.name: field.type for field in msgspec.structs.fields(questions.Errand)}["method"]
    assert asked == HttpRequest.model_fields["method"].annotation


def test_what_is_empty_is_left_out() -> None:
    pairs = '{{"a", ""}, {"b", P.list({})}, {"c", P.map({})}, {"d", nil}, {"e", false}, {"f", 0}, {"g", P.list({"x"})}}'
    assert lua().evaluate(f"P.json.encode(P.gate.table({pairs}))") == '{"e":false,"f":0,"g":["x"]}'


def test_answers_are_kept_as_long_as_they_are_good_and_there_is_room() -> None:
    def kept(*steps: str) -> object:
        body = " ".join(steps[:-1])
        return lua().evaluate(f"(function() local a = P.gate.answers(2) {body} return {steps[-1]} end)()")

    assert kept("a:keep('k', 'v', 10)", "a:get('k', 9)") == "v"
    assert kept("a:keep('k', 'v', 10)", "a:get('k', 10) == nil") is True
    assert kept("for i = 1, 9 do a:keep(i, 'v', 10) end", "a:get(1, 0) == nil and a:get(9, 0)") == "v"
    assert kept("a:keep('k', 'old', 10)", "a:keep('k', 'new', 20)", "a:get('k', 15)") == "new"
