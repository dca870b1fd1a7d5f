"""JSON in Lua, held against Python's and against what expressions compute in explanations."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.lua import LuaError, lua
from portico.policy.functions import encodings

# Numbers as Lua has them: whole ones to 2^53, and others which are not whole.
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).filter(lambda n: n % 1 != 0)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def decode(text: str | bytes) -> Any:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    found = lua().library[b"json"][b"decode"](data)
    if found is None:
        raise ValueError("this is no JSON")
    return lua().plain(found)


def refuse_constant(_name: str) -> None:
    raise ValueError("this is no JSON")


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_what_python_writes_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert decode(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@given(VALUES)
def test_what_is_written_means_the_same_to_python(value: Any) -> None:
    assert json.loads(lua().function("json.encode", [value])) == [value]


@given(st.text())
def test_texts_are_written_as_explanations_show_them(text: str) -> None:
    assert lua().function("json.encode", {text: [text]}) == encodings.to_json({text: [text]})


@given(st.text('[]{}:,"\\u0dD8+-.eE12 tfalsrn\n', max_size=14))
def test_what_python_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=refuse_constant)
    except ValueError:
        with pytest.raises(ValueError, match="no JSON"):
            decode(text)
    else:
        assert decode(text) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *["", "NaN", "-Infinity", "01", "1.", ".5", "+1", "1e", "'a'", '"\t"', '"\\x"', '"\\u12"', "[1,]", '{"a":1,}'],
        *["{a:1}", "[1 2]", "[1", '{"a"', "nul", "true false", "\ufeff1", "[" * 66 + "]" * 66, "[" * 100_000],
        *[b'"\xff"', b'"' + b"a" * (4 << 20) + b'"'],
    ],
    ids=lambda wrong: repr(wrong[:10]),
)
def test_what_is_no_json_is_nothing(wrong: str | bytes) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        decode(wrong)


def test_values_are_read_as_deep_as_in_explanations() -> None:
    text = "[" * 64 + "1" + "]" * 64
    assert decode(text) == encodings.from_json(text)


def test_halves_of_characters_are_joined_or_replaced() -> None:
    assert decode(r'"\ud83d\ude00 \ud83d \ude00 \u00e9"') == "😀 \ufffd \ufffd é"


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    assert decode('{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\xff", '["AP8="]'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), '["2026-01-02T03:04:05Z"]'),
        (datetime(1969, 1, 2, 3, 4, 5, 6000, tzinfo=UTC), '["1969-01-02T03:04:05.006000Z"]'),
        (timedelta(seconds=90, milliseconds=500), '["90.5s"]'),
        ({1: True}, '[{"1":true}]'),
        (1e300, None),
        (0.1, "[0.1]"),
        (1e-7, "[1e-07]"),
    ],
)
def test_values_without_a_form_in_json_have_a_text(value: object, expected: str | None) -> None:
    written = lua().function("json.encode", [value])
    assert written == expected if expected else json.loads(written) == [value]


@pytest.mark.parametrize("text", ["1/0", "-1/0", "0/0"])
def test_what_is_no_number_has_no_json(text: str) -> None:
    with pytest.raises(LuaError, match="no JSON"):
        lua().evaluate(f"P.json.encode({text})")
