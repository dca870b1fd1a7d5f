"""Texts with expressions: Lua fills them as explanations do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.lua import LuaError, lua
from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.effects import Scene, UnfilledError
from portico.policy.template import parse_template
from portico.translate.policy.templates import lua_of_template, lua_of_value

VALUES: dict[str, Any] = {
    "vars": {
        "i": 3,
        "h": 3.5,
        "s": 'é"\n',
        "l": [1, "a", None, {"b": [True]}],
        "m": {},
        "b": True,
        "n": None,
        "y": b"ab",
    },
    "req.method": "GET",
    "req.headers": {"a": ["x"]},
}
TEXTS = [
    "plain",
    "",
    'quo"te\\ and\nline',
    "${req.method}",
    "a ${req.method} b ${vars.i}",
    "${vars.s}",
    "<${vars.s}>",
    "<${vars.i}>",
    "<${vars.h}>",
    "<${vars.b}>",
    "<${vars.n}>",
    "<${vars.l}>",
    "<${vars.m}>",
    "<${vars.y}>",
    "<${1}${2u}${true}${null}>",
    "<${3.0}>",
    "<${1.5}>",
    "<${1e16}>",
    "<${123456789.0}>",
    "<${1e-5}>",
    "<${1.0 / 0.0}>",
    "<${[1.0 / 0.0]}>",
    "${1.0 / 0.0}",
    "${[1.0 / 0.0]}",
    "${3.5}",
    "<${[1, 'é', {'a': 'b'}]}>",
    "${[1, 'é', {'a': 'b'}]}",
    "<${timestamp('2026-01-02T03:04:05Z')}>",
    "<${duration('90s')}>",
    "<${req.headers}>",
    "${req.headers}",
    "${vars.missing}",
    "<${vars.missing}>",
    "<${1 / 0}>",
    "${vars.l}",
    "${vars.b}",
    "${vars.n}",
    "${vars.y}",
    "x${vars.l.map(a, type(a) == int)}",
    "-".join(["${vars.i}"] * 700),
]


def by_scene(text: str, *, typed: bool) -> Any:
    scene = Scene(dict(VALUES))
    try:
        return scene.filled(parse_template(text)) if typed else scene.fill(parse_template(text))
    except UnfilledError:
        return LuaError


def by_lua(text: str, *, typed: bool) -> Any:
    template = parse_template(text)
    try:
        return lua().evaluate(lua_of_value(template) if typed else lua_of_template(template), VALUES)
    except LuaError:
        return LuaError


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_lua_fills_as_explanations_do(text: str, *, typed: bool) -> None:
    assert by_lua(text, typed=typed) == by_scene(text, typed=typed)


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="$")))
def test_any_text_is_itself(text: str) -> None:
    assert by_lua(text, typed=False) == text
    assert by_lua(text + "${vars.i}" + text, typed=False) == f"{text}3{text}"


def test_what_fails_in_a_secret_says_nothing_of_it() -> None:
    template = parse_template("key-${vars.m['s3cret']}", hidden=True)
    with pytest.raises(LuaError, match=r"^an expression of a secret failed$"):
        lua().evaluate(lua_of_template(template), VALUES)
    refused = parse_template("${timestamp(0).getHours('S3cret/Zone')}", hidden=True)
    with pytest.raises(PorticoError, match=r"^an expression of a secret cannot be computed") as caught:
        lua_of_value(refused)
    assert caught.value.code is NOT_SERVED
