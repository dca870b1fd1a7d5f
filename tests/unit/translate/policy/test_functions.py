"""ngrok's functions in Lua: each gives what its `compute` gives in explanations."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.lua import LuaError, lua
from portico.policy.functions import functions, messages

# Numbers that Lua and Python write alike: whole ones are integers.
NUMBERS = st.integers(-(2**53), 2**53) | st.integers(-(10**9), 10**9).map(lambda n: n + 0.125)
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
NESTED = (
    PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=3), st.lists(PLAIN, max_size=2), max_size=3)
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=30)
    | st.text("aB0%+=&/:?#@.-~ ", max_size=12)
    | st.sampled_from(
        ["hex", "base64", "e30=", '{"a":[1]}', "a=1&b", "https://u@h:80/p?q#f", "10.0.0.1", "10.0.0.0/8"]
    ),
    "bytes": st.binary(max_size=12),
    "int": st.integers(-2, 6),
    "list<dyn>": st.lists(NESTED, max_size=5),
    "list<string>": st.lists(st.sampled_from(["10.0.0.0/8", "::/0", "x"])),
    "map<dyn, dyn>": st.dictionaries(st.text(max_size=4), NESTED, max_size=4),
}
STEADY = [function for function in functions() if function.steady and function.name != "sort"]


@pytest.mark.parametrize("function", STEADY, ids=lambda function: function.signature)
def test_a_function_gives_what_explanations_show(function: Any) -> None:
    @settings(max_examples=60)
    @given(st.tuples(*(BY_TYPE[kind] for kind in function.parameters)))
    def check(arguments: tuple[Any, ...]) -> None:
        try:
            expected = function.compute(*arguments)
        except (ValueError, TypeError):
            with pytest.raises(LuaError):
                lua().function(function.name, *arguments)
        else:
            assert lua().function(function.name, *arguments) == expected

    check()


def test_every_function_is_there() -> None:
    known = {name.decode() for name in lua().library[b"fn"]}
    assert {function.name for function in functions()} - known <= {"secrets.get"}


TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ITEMS = [NUMBERS, st.text(), st.booleans(), st.binary(), TIMES]


@given(st.one_of(*(st.lists(kind, max_size=30) for kind in ITEMS)))
def test_lists_of_one_type_are_sorted(items: list[Any]) -> None:
    assert lua().function("sort", items) == sorted(items)


@pytest.mark.parametrize("items", [[1, "a"], [[1]], [{}], [None, None], [True, 1], [b"", ""]])
def test_only_items_of_one_comparable_type_are_sorted(items: list[Any]) -> None:
    with pytest.raises(LuaError, match="one comparable type"):
        lua().function("sort", items)


@given(
    st.lists(
        st.sampled_from([0, False, "", "0", [], [0], {}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, None, b""]), max_size=9
    )
)
def test_only_equal_items_of_equal_type_are_one(items: list[Any]) -> None:
    kept = lua().function("distinct", items)
    marks = [(type(item), item) for item in items]
    assert [(type(item), item) for item in kept] == [mark for at, mark in enumerate(marks) if mark not in marks[:at]]


@given(st.characters(exclude_categories=["Cs", "Cn"]))
def test_letters_change_their_case_as_unicode_says(letter: str) -> None:
    if letter != "\N{GREEK CAPITAL LETTER SIGMA}":
        assert lua().function("lower", f"a{letter}B") == f"a{letter}B".lower()
    assert lua().function("upper", f"a{letter}B") == f"a{letter}B".upper()


VALUES = {
    "req.headers": {"x-a": ["1", "2"]},
    "res.headers": {"x-b": ["3"]},
    "req.cookies": {"c": [{"name": "c", "value": "1"}], "none": []},
    "res.cookies": {},
    "req.url.query_params": {"q": [""]},
}
ASKED = [("Header", ["X-A", "x-b", "no"]), ("Cookie", ["c", "none", "C"])]


@pytest.mark.parametrize("name", ["X-A", "x-b", "c", "none", "C", "q", "Q"])
@pytest.mark.parametrize(
    "function",
    [one for one in functions() if one.name[:3] in ("get", "has") and not one.steady],
    ids=lambda one: one.name,
)
def test_messages_are_asked_as_in_explanations(function: Any, name: str) -> None:
    text = f'P.fn["{function.name}"](v, "{name}")'
    with messages.visit(VALUES):
        try:
            expected = function.compute(name)
        except ValueError:
            with pytest.raises(LuaError, match="no such cookie"):
                lua().evaluate(text, VALUES)
        else:
            assert lua().evaluate(text, VALUES) == expected


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(LuaError, match=r"req\.headers is not known here"):
        lua().evaluate('P.fn["getReqHeader"](v, "a")', {})


@given(st.integers(0, 5), st.integers(0, 5))
def test_random_numbers_are_within_their_bounds(low: int, more: int) -> None:
    assert low <= lua().evaluate(f'P.fn["rand.int"](v, {low}, {low + more})') <= low + more
    assert lua().evaluate('P.fn["rand.int"](v)') in (0, 1)
    assert 0 <= lua().evaluate('P.fn["rand.double"](v)') < 1


@pytest.mark.parametrize("bounds", ["-1, 2", "2, 1"])
def test_random_numbers_need_bounds_in_order(bounds: str) -> None:
    with pytest.raises(LuaError, match=r"rand\.int"):
        lua().evaluate(f'P.fn["rand.int"](v, {bounds})')


def test_each_worker_has_random_numbers_of_its_own() -> None:
    from kit.lua import Lua

    assert Lua().evaluate('P.fn["rand.double"](v)') != Lua().evaluate('P.fn["rand.double"](v)')


def test_random_bytes_are_as_many_as_asked_for() -> None:
    assert len(lua().library[b"random_bytes"](32)) == 32


def test_a_secret_that_is_not_there_fails_its_expression_alone() -> None:
    with pytest.raises(LuaError, match="there is no such secret"):
        lua().evaluate('P.fn["secrets.get"]("vault", "secret")')
