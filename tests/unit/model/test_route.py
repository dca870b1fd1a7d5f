import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.route import EVERY_PATH, FieldMatch, Match, PathKind, PathMatch, Route, grpc_path, in_order

EXACT, PREFIX, REGEX = PathKind.EXACT, PathKind.PREFIX, PathKind.REGEX

paths = st.builds(PathMatch, st.sampled_from(PathKind), st.sampled_from(["/", "/a", "/a/", "/ab", "/a/b", "/long/er"]))
fields = st.lists(st.builds(FieldMatch, st.sampled_from("abc"), st.sampled_from([None, "1"])), max_size=3).map(tuple)
matches = st.builds(Match, paths, st.sampled_from([(), ("GET",), ("GET", "PUT")]), fields, fields)
routes = st.lists(st.builds(Route, st.just("r"), st.lists(matches, max_size=3, unique=True).map(tuple)), max_size=4)


def better(one: Match, other: Match) -> bool:
    """Gateway API's words, one after the other."""
    ranks = [EXACT, REGEX, PREFIX]
    lengths = [
        len(match.path.value.rstrip("/") if match.path.kind is PREFIX else match.path.value) for match in (one, other)
    ]
    if one.path.kind is not other.path.kind:
        return ranks.index(one.path.kind) < ranks.index(other.path.kind)
    if lengths[0] != lengths[1]:
        return lengths[0] > lengths[1]
    if bool(one.methods) is not bool(other.methods):
        return bool(one.methods)
    if len(one.headers) != len(other.headers):
        return len(one.headers) > len(other.headers)
    return len(one.query) > len(other.query)


@given(routes)
def test_the_order_is_gateway_apis(written: list[Route]) -> None:
    named = [replace(route, name=str(number)) for number, route in enumerate(written)]
    ordered = in_order(named)
    listed = [(route, match) for route in named for match in route.matches or (Match(),)]
    assert len(ordered) == len(listed)
    for before, after in pairwise(ordered):
        assert not better(after[1], before[1])
        if not better(before[1], after[1]) and before != after:
            assert listed.index(before) < listed.index(after)


def test_a_route_without_matches_is_for_all() -> None:
    (only,) = in_order([Route("all")])
    assert only[1] == Match(EVERY_PATH)


def test_specific_first() -> None:
    written = {
        "root": Match(PathMatch(PREFIX, "/")),
        "a": Match(PathMatch(PREFIX, "/a")),
        "a/b": Match(PathMatch(PREFIX, "/a/b/")),
        "exact": Match(PathMatch(EXACT, "/")),
        "regex": Match(PathMatch(REGEX, ".*")),
        "post": Match(PathMatch(PREFIX, "/a"), methods=("POST",)),
        "header": Match(PathMatch(PREFIX, "/a"), headers=(FieldMatch("x"),)),
        "query": Match(PathMatch(PREFIX, "/a"), query=(FieldMatch("x"), FieldMatch("y"))),
    }
    ordered = in_order(Route(name, (match,)) for name, match in written.items())
    assert [route.name for route, _ in ordered] == [
        *("exact", "regex", "a/b", "post", "header", "query", "a", "root"),
    ]


@pytest.mark.parametrize(
    ("service", "method", "regex", "kind", "value"),
    [
        ("a.B", "C", False, EXACT, "/a.B/C"),
        ("a.B", "", False, PREFIX, "/a.B"),
        ("", "", False, PREFIX, "/"),
        ("", "", True, REGEX, "/[^/]+/[^/]+"),
        ("a[.]B.*", "", True, REGEX, "/a[.]B.*/[^/]+"),
        ("", "Get.*", True, REGEX, "/[^/]+/Get.*"),
    ],
)
def test_grpc(service: str, method: str, regex: bool, kind: PathKind, value: str) -> None:
    assert grpc_path(service, method, regex=regex) == PathMatch(kind, value)


def test_a_method_of_any_service_is_text() -> None:
    path = grpc_path(method="G.t")
    assert path.kind is REGEX
    assert re.fullmatch(path.value, "/any.Service/G.t")
    assert not re.fullmatch(path.value, "/any.Service/Get")
