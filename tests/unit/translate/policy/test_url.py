"""URLs, cookies and media types in Lua, held against urllib and the variables of explanations."""

import re
import urllib.parse
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kit.lua import lua
from portico.policy import request

PIECES = [
    "http",
    "https",
    "ftp",
    ":",
    "//",
    "/",
    "a",
    "B",
    "..",
    ".",
    "?",
    "#",
    "&",
    "=",
    "x=1",
    "@",
    "u:p",
    "%41",
    "%c3",
]
PIECES += ["[::1]", "[", "]", "80", "443", "8080", "99999", "é", " ", "\t", "+"]
REFERENCES = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
URLS = REFERENCES.map(lambda rest: f"http://h.test{rest}") | REFERENCES.map(lambda rest: f"https://{rest}")
FIELDS = st.lists(st.text('ab=; ",\tA', max_size=16), max_size=3)


def call(*path: str | bytes) -> Any:
    return lua().call(_at(path[0]), *path[1:])  # type: ignore[arg-type]


def _at(path: str | bytes) -> Any:
    found = lua().library
    for name in str(path).split("."):
        found = found[name.encode()]
    return found


def fields(values: list[str]) -> Any:
    return lua().value(values)


def values_of(url: str) -> dict[str, Any] | None:
    found = call("url.values", url.encode())
    return None if found is None else {name.decode(): lua().plain(value) for name, value in found.items()}


@given(URLS | REFERENCES)
@example("http://u@h@[::1]:80/%c3%28?a=1&a=2")
def test_the_variables_of_a_url_are_those_of_explanations(url: str) -> None:
    try:
        expected = request.url_values(url)
    except ValueError:
        expected = None
    assert values_of(url) == expected


@given(URLS, REFERENCES)
@example("http://h.test/a/b", "../../..//c/./d/..")
@example("http://h.test", "?x")
def test_a_reference_is_joined_as_urllib_does(base: str, reference: str) -> None:
    assume(";" not in base + reference)
    assume(re.match("https?://[^/?#\\s]", base))
    try:
        expected = urllib.parse.urljoin(base, reference)
    except ValueError:
        expected = None
    found = call("url.join", base.encode(), reference.encode())
    assert (found and found.decode()) == expected


@given(FIELDS)
@example(["a=1; b=2", "a=3"])
def test_cookies_are_those_of_explanations(headers: list[str]) -> None:
    assert lua().plain(call("cookies", fields(headers))) == request._cookies(headers)


@given(FIELDS)
@example(["a=1; Path=/; Secure", 'a="2"; path=/long; HttpOnly; SameSite=Lax; Domain=x'])
def test_set_cookies_are_those_of_explanations(headers: list[str]) -> None:
    assert lua().plain(call("set_cookies", fields(headers))) == request._set_cookies(headers)


@given(st.text('ab=; ",/A', max_size=24))
@example('Text/HTML; Charset="utf-8"; x')
def test_a_media_type_is_that_of_explanations(raw: str) -> None:
    expected = request._message("req", {"content-type": [raw]})
    media, parameters = lua().library[b"media_type"](raw.encode())
    assert media.decode() == expected["req.content_type"]
    assert lua().plain(parameters) == expected["req.content_type.parameters"]


@given(st.lists(st.text("ab, ", max_size=10), max_size=3))
def test_items_of_a_list_are_those_of_explanations(headers: list[str]) -> None:
    expected = request._message("req", {"content-encoding": headers})["req.content_encoding"]
    assert lua().plain(call("items", fields(headers))) == expected


@pytest.mark.parametrize(
    "hostile", [" " * 60_000 + "x" + " " * 60_000 + "y", '"' * 60_000 + "x" + '"' * 60_000 + "y", "[" * 90_000]
)
def test_long_texts_of_visitors_take_no_longer_for_their_letters(hostile: str) -> None:
    """A pattern that tries every pair of ends would count to 3,600,000,000 here, and the test would time out."""
    call("cookies", fields([f"a={hostile}"]))
    call("media_type", hostile.encode())
    call("url.values", f"http://{hostile}]/".encode())
    call("address", hostile.encode())
