from dataclasses import replace

import pytest

from portico.model.route import (
    Affinity,
    Answer,
    Backend,
    FieldMatch,
    HeaderChanges,
    Match,
    Mirror,
    PathChange,
    PathKind,
    PathMatch,
    Redirect,
    Retries,
    Rewrite,
    Route,
)
from portico.translate.route_check import byte_route_faults, route_faults
from portico.translate.route_values import host_fault

TO = Route("r", backends=(Backend("p"),))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"matches": (Match(PathMatch(PathKind.EXACT, "a")),)}, "matches[0].path: 'a' is no path"),
        ({"matches": (Match(), Match(PathMatch(PathKind.REGEX, "(")))}, "matches[1].path: '(' is no RE2"),
        ({"matches": (Match(PathMatch(PathKind.REGEX, "a" * 1_025)),)}, "matches[0].path: an expression has at most"),
        ({"matches": (Match(methods=("G T",)),)}, "matches[0].methods: 'G T' is no method"),
        ({"matches": (Match(headers=(FieldMatch(":path"),)),)}, "matches[0].headers[0]: ':path' is no header's name"),
        ({"matches": (Match(query=(FieldMatch(""),)),)}, "matches[0].query[0]: a parameter's name has 1 to"),
        ({"backends": (Backend("p", -1),)}, "backends[0].weight: -1 is not in"),
        ({"backends": (Backend(""),)}, "backends[0].pool: it has no name"),
        ({"backends": (Backend("p", host="*.a"),)}, "backends[0].host: '*.a' is a wildcard"),
        ({"mirrors": (Mirror("q"),)}, "mirrors[0].pool: there is no pool 'q'"),
        ({"mirrors": (Mirror("p", 2_000_000),)}, "mirrors[0].per_million"),
        ({"request_headers": HeaderChanges(set=(("Content-Length", "1"),))}, "request_headers.Content-Length"),
        ({"response_headers": HeaderChanges(add=(("a", "b\r\nc"),))}, "response_headers.a: 'b\\r\\nc' is no"),
        ({"rewrite": Rewrite(path=PathChange("/a b"))}, "rewrite.path: '/a b' is no path"),
        ({"timeout": -1.0}, "timeout: -1 is not in"),
        ({"timeout": float("inf")}, "timeout: inf is not in"),
        ({"try_timeout": float("nan")}, "try_timeout: nan is not in"),
        ({"retries": Retries(0)}, "retries.attempts"),
        ({"retries": Retries(1, (200,))}, "retries.codes: 200"),
        ({"retries": Retries(1, backoff=0)}, "retries.backoff"),
        ({"affinity": Affinity("a b")}, "affinity.cookie: 'a b' is no header's name"),
        ({"affinity": Affinity("a", lifetime=-1)}, "affinity.lifetime: -1"),
        ({"backends": (), "redirect": Redirect("ftp")}, "redirect.scheme: 'ftp' is neither"),
        ({"backends": (), "redirect": Redirect(host="a:1")}, "redirect.host: the port stands in port"),
        ({"backends": (), "redirect": Redirect("http", status=304)}, "redirect.status: 304"),
        ({"backends": (), "redirect": Redirect(port=65_536)}, "redirect.port: 65536"),
        ({"backends": (), "answer": Answer(199)}, "answer.status: 199"),
        ({"backends": (), "answer": Answer(200, "a", "b\nc")}, "answer.content_type"),
    ],
)
def test_fault(changes: dict[str, object], fault: str) -> None:
    found = list(route_faults(replace(TO, **changes), ["p"]))  # type: ignore[arg-type]
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_backend_without_a_pool_is_no_fault() -> None:
    """Gateway API has its share answered with 500, and the other shares served."""
    assert not list(route_faults(replace(TO, backends=(Backend("unknown"),)), []))


def test_routes_of_connections() -> None:
    assert not list(byte_route_faults((TO,)))
    assert list(byte_route_faults((TO, TO)))
    assert list(byte_route_faults((Route("r"),)))
    assert list(byte_route_faults((replace(TO, timeout=1),)))
    assert list(byte_route_faults((replace(TO, backends=(Backend("p", host="a"),)),)))


@pytest.mark.parametrize("host", ["a.example", "a.example:8080", "10.0.0.5", "10.0.0.5:80", "[::1]", "[::1]:80", "a"])
def test_hosts(host: str) -> None:
    assert not host_fault(host)


@pytest.mark.parametrize("host", ["", "a b", "a:", "a:0", "a:70000", "*.a", "a/b", ":80", "a..b"])
def test_no_hosts(host: str) -> None:
    assert host_fault(host)
