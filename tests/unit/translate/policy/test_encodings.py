"""base64, hex, percent-encoding and UTF-8 in Lua, held against Python's."""

import base64
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit.lua import lua
from portico.policy.functions import encodings


def ask(path: str, *arguments: bytes) -> object:
    """What a function of the library gives for bytes; `path` is such as base64.encode."""
    found = lua().library
    for name in path.split("."):
        found = found[name.encode()]
    return lua().call(found, *arguments)


@given(st.binary(max_size=200))
def test_what_is_encoded_is_what_python_encodes_and_comes_back(data: bytes) -> None:
    assert ask("base64.encode", data) == base64.b64encode(data)
    assert ask("base64.decode", base64.b64encode(data)) == data
    safe = base64.urlsafe_b64encode(data).rstrip(b"=")
    assert ask("base64.encode_safe", data) == safe
    assert ask("base64.decode_safe", safe) == data
    assert ask("hex.encode", data) == data.hex().encode()
    assert ask("hex.decode", data.hex().upper().encode()) == data


@given(st.text("AQab+/=-_ \n", max_size=12))
@example("AAAA=")
def test_base64_is_as_strict_as_in_explanations(text: str) -> None:
    try:
        expected = encodings.from_base64(text)
    except ValueError:
        expected = None
    assert ask("base64.decode", text.encode()) == expected


@pytest.mark.parametrize("wrong", [b"A", b"AA=", b"AA==", b"A+", b"A/AA", b"AA\n"])
def test_base64_of_urls_has_its_own_letters_and_no_padding(wrong: bytes) -> None:
    assert ask("base64.decode_safe", wrong) is None


@pytest.mark.parametrize("wrong", [b"a", b"0g", b"0x12"])
def test_what_is_no_hex_is_nothing(wrong: bytes) -> None:
    assert ask("hex.decode", wrong) is None


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b"\xf0\x9f", b"\xe2\x82\xac", b"\xed\xa0\x80", b"a"])).map(b"".join)
)
def test_what_is_no_utf8_is_replaced_as_unicode_recommends(data: bytes) -> None:
    assert ask("utf8.replaced", data) == data.decode(errors="replace").encode()
    assert ask("utf8.valid", data) == (data.decode(errors="replace").encode() == data)


@given(st.integers(0, 0x10FFFF))
def test_a_code_point_becomes_its_bytes(point: int) -> None:
    surrogate = 0xD800 <= point <= 0xDFFF
    assert ask("utf8.char", point) == ("\N{REPLACEMENT CHARACTER}" if surrogate else chr(point)).encode()


@given(st.text() | st.text("%abC3é0+ &=", max_size=20))
def test_percent_encoding_is_what_urllib_does(text: str) -> None:
    assert ask("percent.encode", text.encode()) == urllib.parse.quote(text, safe="").encode()
    assert ask("percent.form", text.encode()) == urllib.parse.quote_plus(text).encode()
    assert ask("percent.decode", text.encode()) == urllib.parse.unquote(text).encode()


@given(st.text("ab%41C3&=+ é", max_size=24))
def test_pairs_of_a_query_are_those_of_urllib(text: str) -> None:
    found = lua().call(lua().library[b"percent"][b"pairs"], text.encode())
    pairs = [(found[at][1].decode(), found[at][2].decode()) for at in range(1, len(found) + 1)]
    assert pairs == urllib.parse.parse_qsl(text, keep_blank_values=True)


def test_html_has_no_meaning_left() -> None:
    assert ask("html", b"""<a href="x" title='&'>""") == b"&lt;a href=&quot;x&quot; title=&#39;&amp;&#39;&gt;"
