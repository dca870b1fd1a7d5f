import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from portico.edge.bind_request import BindRequest
from portico.edge.endpoint_settings import EndpointSettings
from portico.edge.route_settings import RouteSettings
from portico.edge.settings_sources import load_settings
from portico.model.endpoint import EndpointUrl, HostPort
from portico.model.errors import PorticoError
from portico.model.route import (
    Affinity,
    Answer,
    Backend,
    Cors,
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
    grpc_path,
)
from portico.translate.route_check import route_faults

EVERYTHING = """
      - name: search
        match:
          - path_prefix: /search
            methods: [GET, HEAD]
            headers: {x-version: 2, x-beta: {present: true}, x-kind: {regex: 'a|b'}}
            query: {q: {regex: '.+'}}
          - grpc: {service: music.Search}
        backends:
          - endpoint: https://search.example.com
            weight: 3
            host_header: search.internal
            request_headers: {set: {x-share: big}}
          - upstreams: [{url: 'http://10.0.0.5:80', weight: 2}, http://10.0.0.6:80]
            upstream_protocol: http2
            weight: 0
            response_headers: {remove: [server]}
        mirror: [{upstreams: [http://10.0.0.7:80], percent: 12.5}]
        rewrite: {host: inner.example, path_prefix: /}
        request_headers: {add: {x-route: 1}}
        timeout: 5
        try_timeout: 1.5
        retries: {attempts: 2, codes: [503], backoff: 0.1, broken: true}
        affinity: {cookie: seat, lifetime: 3600}
        cors: {origins: [https://*.b.example], methods: [GET], headers: [x-a], credentials: true, max_age: 9}
      - match: {path: /old}
        redirect: {scheme: https, host: new.example, port: 444, path: /new, status: 301}
      - answer: {status: 404, body: gone}
"""


def load(directory: Path, routes: str, url: str = "https://music.example.com", more: str = "") -> BindRequest:
    (directory / "edge.yml").write_text(f"endpoints:\n  - url: {url}\n    routes:{routes}\n{more}")
    return load_settings({"config": str(directory / "edge.yml")}, {}).endpoints[0].request()


def problem(directory: Path, routes: str, url: str = "https://music.example.com", more: str = "") -> str:
    with pytest.raises(PorticoError) as caught:
        load(directory, routes, url, more)
    return caught.value.message.replace(f"{directory}/", "")


def test_everything_a_route_may_have(tmp_path: Path) -> None:
    request = load(tmp_path, EVERYTHING)
    search, old, gone = request.routes
    endpoint, direct, copies = request.pools
    assert search.name == "search"
    assert search.matches == (
        Match(
            PathMatch(PathKind.PREFIX, "/search"),
            ("GET", "HEAD"),
            (FieldMatch("x-version", "2"), FieldMatch("x-beta"), FieldMatch("x-kind", "a|b", regex=True)),
            (FieldMatch("q", ".+", regex=True),),
        ),
        Match(grpc_path("music.Search")),
    )
    assert search.backends == (
        Backend(endpoint.name, 3, HeaderChanges(set=(("x-share", "big"),)), host="search.internal"),
        Backend(direct.name, 0, response_headers=HeaderChanges(remove=("server",))),
    )
    assert (endpoint.endpoint, endpoint.upstreams) == (EndpointUrl.parse("https://search.example.com"), ())
    assert direct.upstreams == (HostPort("10.0.0.5", 80, 2), HostPort("10.0.0.6", 80))
    assert (direct.endpoint, direct.upstream_http) == (None, 2)
    assert copies.upstreams == (HostPort("10.0.0.7", 80),)
    assert search.mirrors == (Mirror(copies.name, 125_000),)
    assert search.rewrite == Rewrite("inner.example", PathChange("/", prefix=True))
    assert search.request_headers == HeaderChanges(add=(("x-route", "1"),))
    assert (search.timeout, search.try_timeout) == (5, 1.5)
    assert search.retries == Retries(2, (503,), 0.1, broken=True)
    assert search.affinity == Affinity("seat", lifetime=3600)
    assert search.cors == Cors(("https://*.b.example",), ("GET",), ("x-a",), credentials=True, max_age=9)
    assert (old.name, old.matches) == ("2", (Match(PathMatch(PathKind.EXACT, "/old")),))
    assert old.redirect == Redirect("https", "new.example", 444, PathChange("/new"), 301)
    assert (gone.answer, gone.matches) == (Answer(404, "gone"), ())
    # The supervisor writes it into a file for control.
    assert msgspec.json.decode(msgspec.json.encode(request), type=BindRequest) == request


def test_the_same_services_are_one_pool(tmp_path: Path) -> None:
    one, other = "http://10.0.0.5:80", "{upstreams: ['http://10.0.0.5:80'], upstream_protocol: http2}"
    routes = f"""
      - {{match: {{path: /a}}, backends: [{one}]}}
      - {{match: {{path: /b}}, backends: [{one}, {other}]}}"""
    request = load(tmp_path, routes)
    assert len(request.pools) == 2
    assert request.forwards_to == "http://10.0.0.5:80"
    assert {backend.pool for route in request.routes for backend in route.backends} == {
        pool.name for pool in request.pools
    }


TO = "backends: [http://10.0.0.5:80]"


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ("\n      - {match: {path: /a}}", "edge.yml:4: endpoints[0].routes[0]: give backends, redirect or answer"),
        (
            f"\n      - {TO}\n        match:\n          - path_regex: '('",
            "edge.yml:6: endpoints[0].routes[0].match[0].path_reg",
        ),
        (f"\n      - {TO}\n        match: {{path: a}}", "'a' is no path"),
        (f"\n      - {TO}\n        match: {{path: /a?b}}", "'/a?b' is no path"),
        (f"\n      - {TO}\n        match: {{path_prefix: /a/../b}}", "'/../' does not stand in a path"),
        (f"\n      - {TO}\n        match: {{path: /a, path_prefix: /a}}", "give path, path_prefix, path_regex or grpc"),
        (f"\n      - {TO}\n        match: {{grpc: {{service: '(', regex: true}}}}", "is no RE2 regular expression"),
        (f"\n      - {TO}\n        match: {{headers: {{'a b': c}}}}", "'a b' is no header's name"),
        (f"\n      - {TO}\n        match: {{headers: {{a: {{regex: '['}}}}}}", "is no RE2 regular expression"),
        (f"\n      - {TO}\n        match: {{headers: {{a: {{regex: b, exact: b}}}}}}", "give exact, regex or present"),
        (f"\n      - {TO}\n        request_headers: {{set: {{host: a}}}}", "is changed by rewrite (host)"),
        (f"\n      - {TO}\n        request_headers: {{remove: [x-edge-host]}}", "is not to be changed"),
        (f'\n      - {TO}\n        response_headers: {{add: {{a: "b\\nc"}}}}', "is no header's value"),
        (f"\n      - {TO}\n        response_headers: {{add: {{a: b}}, remove: [A]}}", "a header is named twice"),
        (f"\n      - {TO}\n        rewrite: {{host: 'a b'}}", "not a host name"),
        (f"\n      - {TO}\n        rewrite: {{path: /a, path_prefix: /b}}", "give path or path_prefix"),
        (f"\n      - {TO}\n        match: {{path: /a}}\n        rewrite: {{path_prefix: /b}}", "there is no prefix"),
        (f"\n      - {TO}\n        redirect: {{host: a.example}}", "backends and redirect exclude each other"),
        ("\n      - redirect: {host: a.example}\n        timeout: 3", "redirect: nothing is sent on"),
        ("\n      - redirect: {status: 301}", "it leads back to where it came from"),
        ("\n      - answer: {status: 474}", "474 is no status to answer with"),
        ("\n      - answer: {status: 204, body: a}", "an answer 204 has none"),
        (f"\n      - answer: {{status: 200, body: {'a' * 5000}}}", "at most 4,096 bytes"),
        (f"\n      - {TO}\n        affinity: {{lifetime: 3}}", "it needs a cookie or a header"),
        (f"\n      - {TO}\n        timeout: 1\n        try_timeout: 2", "one try takes no longer"),
        (f"\n      - {TO}\n        cors: {{origins: [a.example]}}", "'a.example' is no origin"),
        (f"\n      - {TO}\n        cors: {{origins: ['*'], headers: ['*'], credentials: true}}", "browsers take *"),
        (f"\n      - {TO}\n        timeout: 0", "greater than or equal to 0.001"),
        ("\n      - backends: [{endpoint: 'https://a.example', upstreams: [b]}]", "give endpoint or upstreams"),
        (
            "\n      - backends: [{endpoint: 'https://a.example', proxy_protocol: true}]",
            "where the endpoint comes from",
        ),
        ("\n      - backends: [{endpoint: 'tcp://a.example:20000'}]", "whose pools are http and https ones"),
        ("\n      - backends: [{upstreams: ['tls://a.example:1']}]", "does not fit the endpoint"),
        ("\n      - backends: [{endpoint: 'https://music.example.com'}]", "which has routes itself"),
        (f"\n      - {TO}\n        weigth: 3", "there is no such key"),
        ("\n      - backends: [{upstreams: [a], weigth: 3}]", "did you mean 'weight'?"),
    ],
)
def test_what_is_wrong(tmp_path: Path, routes: str, words: str) -> None:
    assert words in problem(tmp_path, routes)


def test_no_loop_over_several_endpoints(tmp_path: Path) -> None:
    more = "  - {url: 'https://b.example', routes: [{backends: [{endpoint: 'https://music.example.com'}]}]}\n"
    found = problem(tmp_path, "\n      - backends: [{endpoint: 'https://b.example'}]", more=more)
    assert "leads to https://b.example, which has routes itself" in found


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        (f"\n      - {TO}\n        match: {{path: /a}}", "what is matched or changed are requests"),
        ("\n      - backends: [10.0.0.5:80]\n      - backends: [10.0.0.5:81]", "there is more than one route"),
        ("\n      - answer: {status: 200}", "what is matched or changed are requests"),
        ("\n      - backends: [{endpoint: 'https://a.example'}]", "whose pools are tls and tcp ones"),
        ("\n      - backends: [{upstreams: ['10.0.0.5:80'], upstream_protocol: http2}]", "is for http and https"),
        ("\n      - backends: [10.0.0.5:80]\n    upstreams: [10.0.0.6:80]", "give routes or upstreams"),
    ],
)
def test_what_connections_cannot_have(tmp_path: Path, routes: str, words: str) -> None:
    routes = routes.replace("http://10", "10")
    assert words in problem(tmp_path, routes, "tls://a.example")


def test_shares_of_connections(tmp_path: Path) -> None:
    request = load(
        tmp_path, "\n      - backends: [10.0.0.5:80, {endpoint: 'tls://b.example', weight: 2}]", "tls://a.example"
    )
    (route,) = request.routes
    assert [backend.weight for backend in route.backends] == [1, 2]
    assert request.pools[1].endpoint == EndpointUrl.parse("tls://b.example")


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["/a", "GET", "a.b"])
)
_KEYS = st.sampled_from([*RouteSettings.model_fields, "path", "path_prefix", "path_regex", "set", "url", "header", "x"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(st.sampled_from(list(RouteSettings.model_fields)), _VALUES, max_size=5))
def test_anything_is_a_route_that_envoy_takes_or_refused(written: dict[str, object]) -> None:
    try:
        settings = EndpointSettings.model_validate({"url": "https://a.example", "routes": [written]})
    except ValidationError:
        return
    request = settings.request()
    (route,) = request.routes
    assert not list(route_faults(route, [pool.name for pool in request.pools]))


GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "routing.md"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL))
def test_what_the_guide_shows_is_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "edge.yml").write_text(text)
    (endpoint,) = load_settings({"config": str(tmp_path / "edge.yml")}, {}).endpoints
    assert endpoint.request().routes
