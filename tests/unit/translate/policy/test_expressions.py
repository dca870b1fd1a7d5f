"""Lua computes what cel-cpp computes: a table of expressions, and what Lua's limits do to the largest ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit.agreement import FAILED, agree, by_lua, compiled
from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.expressions import Expression, compile_expression
from portico.translate.policy.expressions import lua_of

TABLE = (Path(__file__).parent / "expressions.txt").read_text("utf-8").splitlines()
VALUES: dict[str, Any] = {
    "vars": {
        "i": 3,
        "d": 3.0,
        "h": 3.5,
        "s": "é",
        "l": [1, 2],
        "m": {"a": 1},
        "b": True,
        "n": None,
        "zone": "+02:00",
        "bytes": b"ab",
    },
    "conn.ts.start": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "req.url.path": "/api/a",
    "req.url.query_params": {"q": ["1"]},
    "req.method": "POST",
    "req.headers": {"a": ["x"]},
    "req.cookies": {},
}


@pytest.mark.parametrize("text", TABLE)
def test_lua_computes_what_cel_computes(text: str) -> None:
    agree(text, VALUES)


@pytest.mark.parametrize(
    ("text", "lua_text"),
    [
        (
            "req.method == 'POST' && req.url.path.startsWith('/api')",
            '((v:get("req.method") == "POST") and ((v:get("req.url.path")):sub(1, 4) == "/api"))',
        ),
        (
            "'x' in req.headers && req.headers['x'][0] == 'a'",
            '(P.op.key_of("x", v:get("req.headers")) and (P.op.item(P.op.entry(v:get("req.headers"), "x"), 0) == "a"))',
        ),
        (
            "has(vars.a) || res.status_code >= 500",
            '(((v:get("vars")).values["a"] ~= nil) or (v:get("res.status_code") >= 500))',
        ),
        (
            "size(req.url.path) > 10 ? 'long' : 'short'",
            '((P.text.size(v:get("req.url.path")) > 10) and "long" or "short")',
        ),
    ],
)
def test_what_cannot_fail_is_plain_lua(text: str, lua_text: str) -> None:
    assert lua_of(compiled(text)) == lua_text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("vars.i < 9007199254740993", "no less than 2"),
        ("timestamp(0).getHours('Nowhere/Else') == 1", "there is no time zone"),
        ("google.protobuf.Duration{seconds: 1} == duration('1s')", "is a message"),
        ("type(vars.a) == google.protobuf.Any", "is no type of values"),
        ("[1].map(a, " * 9 + "1" + ")" * 9 + " == []", "nested more than 8 deep"),
    ],
)
def test_what_lua_cannot_compute_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PorticoError, match=reason) as caught:
        lua_of(compiled(text))
    assert caught.value.code is NOT_SERVED


def test_a_whole_number_that_leaves_what_is_exact_is_a_failure() -> None:
    largest = (1 << 53) - 1
    assert by_lua("vars.a + 0", {"vars": {"a": largest}}) == largest
    for text in ("vars.a + 1", "vars.a * 2", "-vars.a - 1", "int('9007199254740992')", "int(9007199254740992.0)"):
        assert by_lua(text, {"vars": {"a": largest}}) is FAILED


def test_a_loop_ends_before_it_holds_up_others() -> None:
    long = {"vars": {"a": "x" * 60_000}}
    assert by_lua("lists.range(9000).map(i, vars.a + string(i)).size() == 9000", long) is FAILED
    assert by_lua("lists.range(9000).exists(i, vars.a.contains('b')) || true", long) is FAILED
    assert by_lua("lists.range(300).all(a, lists.range(300).all(b, true)) || true", long) is FAILED
    assert by_lua("vars.a.replace('x', vars.a) != ''", long) is FAILED
    assert by_lua("lists.range(9000).map(i, vars.a).join('') != ''", long) is FAILED
    calls = " && ".join(["timestamp('2026-01-02T03:04:05Z') > timestamp(0)"] * 200)
    assert by_lua(f"lists.range(9000).all(i, {calls})", long) is FAILED
    assert by_lua("lists.range(9000).all(i, " + "||".join(["1/0 == i"] * 800) + ")", long) is FAILED
    big = "lists.range(5000).map(i, [i])"
    assert by_lua(f"[{big}].all(a, lists.range(4000).all(i, a == a))", long) is FAILED
    assert by_lua("lists.range(50).exists(i, i == 49)", long) is True


DEEPEST = {
    "sum": "({}+1)",
    "choice": "(vars.a?{}:vars.b)",
    "condition": "({}?vars.a:vars.b)",
    "truths": "(vars.a&&({}||vars.b)&&vars.c)",
    "list": "[{}]",
    "map": "{{'a':{}}}",
    "index": "vars.a[{}]",
    "method": "{}.trim()",
    "function": "string({})",
    "negation": "!({}||vars.b)",
}


@pytest.mark.parametrize("form", DEEPEST.values(), ids=DEEPEST)
def test_the_deepest_expression_is_lua(form: str) -> None:
    text = "vars.a"
    while isinstance(compile_expression(form.format(text)), Expression):
        text = form.format(text)
    agree(text, {"vars": {"b": 1}})


LONGEST = {
    "and": "&&".join(["vars.a"] * 1800),
    "or": "||".join(["vars.a==1"] * 1400),
    "truths": "||".join(["true"] * 2600),
    "list": "[" + ",".join(["vars.a"] * 2000) + "]",
    "lists": "[" + ",".join(["[]"] * 5400) + "]",
    "numbers": "[" + ",".join(["1"] * 8000) + "]",
    "map": "{" + ",".join(f"{number}:1" for number in range(2000)) + "}",
    "loops": "[" + ",".join(["[1].map(a,a)"] * 1200) + "]",
    "in": "vars.a in [" + ",".join(f"'{number}'" for number in range(1900)) + "]",
    "text": "'" + "\\u0000" * 2600 + "'",
    "format": "'" + "%s" * 1500 + "'.format([" + ",".join(["vars.a"] * 1500) + "])",
    "nested loops": "[2].map(a, " * 8 + "vars.a" + ")" * 8,
}


@pytest.mark.parametrize("text", LONGEST.values(), ids=LONGEST)
def test_the_longest_expression_is_lua(text: str) -> None:
    agree(text, {"vars": {"a": 5}})


def test_a_pattern_of_the_visit_must_be_plain_text() -> None:
    assert by_lua("'a.c'.matches(vars.a)", {"vars": {"a": ".c"}}) is FAILED
    assert by_lua("'a.c'.matches(vars.a)", {"vars": {"a": "c"}}) is True
