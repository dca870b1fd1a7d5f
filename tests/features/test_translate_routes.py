"""Routes in the real Envoy: which request goes where, and what is changed on the way."""

from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from kit.policies import policy_text, rule
from kit.translated import TranslatedEdge, endpoint, http_upstream, read_answer, translated_edge
from portico.model import errors
from portico.model.endpoint import Pool
from portico.model.route import (
    Answer,
    Backend,
    FieldMatch,
    Match,
    PathKind,
    PathMatch,
    Route,
    grpc_path,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXACT, PREFIX, REGEX = PathKind.EXACT, PathKind.PREFIX, PathKind.REGEX


def to(pool: str, *matches: Match, **fields: object) -> Route:
    """A route whose requests all go to one pool."""
    return Route(pool, matches, (Backend(pool),), **fields)  # type: ignore[arg-type]


def at(path: str, kind: PathKind = PREFIX, **fields: object) -> Match:
    return Match(PathMatch(kind, path), **fields)  # type: ignore[arg-type]


MATCHES = (
    to("root", at("/")),
    to("foo", at("/foo")),
    to("deep", at("/foo/deep/")),
    to("exact", at("/foo/exact", EXACT)),
    to("regex", at("/[0-9]+/x", REGEX)),
    to("post", at("/foo", methods=("POST",))),
    to("either", at("/either", methods=("PUT", "PATCH"))),
    to("header", at("/foo", headers=(FieldMatch("X-Kind", "a"),))),
    to("both", at("/foo", headers=(FieldMatch("x-kind", "a"), FieldMatch("x-more")))),
    to("pattern", at("/foo", headers=(FieldMatch("x-kind", "b+", regex=True),))),
    to("query", at("/foo", query=(FieldMatch("q", "1"),))),
    to("queries", at("/foo", query=(FieldMatch("q", "[2-9]", regex=True), FieldMatch("r")))),
    to("call", Match(grpc_path("test.Echo", "Say"))),
    to("service", Match(grpc_path("test.Echo"))),
    to("method", Match(grpc_path(method="Stop"))),
    to("many", at("/one"), at("/two", EXACT)),
)


async def serve_pools(edge: TranslatedEdge, *names: str) -> tuple[Pool, ...]:
    return tuple([Pool(name, (await edge.serve(http_upstream(name), f"p-{name}"),)) for name in names])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matching(edge: TranslatedEdge) -> TranslatedEdge:
    pools = await serve_pools(edge, *(route.name for route in MATCHES))
    await edge.publish(endpoint("https://match.edge.test", routes=MATCHES, pools=pools))
    return edge


async def ask(edge: TranslatedEdge, host: str, path: str = "/", method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=edge.visitor(), timeout=30, trust_env=False) as visitor:
        return await visitor.request(
            method,
            f"https://127.0.0.1:{edge.https}{path}",
            headers={"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}},
            extensions={"sni_hostname": host},
        )


@pytest.mark.parametrize(
    ("path", "method", "headers", "who"),
    [
        ("/", "GET", {}, "root"),
        ("/other", "GET", {}, "root"),
        ("/foo", "GET", {}, "foo"),
        ("/foo/", "GET", {}, "foo"),
        ("/foo?a=b", "GET", {}, "foo"),
        ("/foo/bar", "GET", {}, "foo"),
        ("/foobar", "GET", {}, "root"),
        ("/FOO", "GET", {}, "root"),
        ("/foo/deep", "GET", {}, "deep"),
        ("/foo/deep/er", "GET", {}, "deep"),
        ("/foo/deeper", "GET", {}, "foo"),
        ("/foo/exact", "GET", {}, "exact"),
        ("/foo/exact?x", "GET", {}, "exact"),
        ("/foo/exact/", "GET", {}, "foo"),
        ("/12/x", "GET", {}, "regex"),
        ("/12/x?q=1", "GET", {}, "regex"),
        ("/12/xy", "GET", {}, "root"),
        ("/foo", "POST", {}, "post"),
        ("/foo", "POST", {"x_kind": "a", "x_more": "1"}, "post"),
        ("/either", "PUT", {}, "either"),
        ("/either", "PATCH", {}, "either"),
        ("/either", "GET", {}, "root"),
        ("/foo", "GET", {"x_kind": "a"}, "header"),
        ("/foo", "GET", {"x_kind": "ab"}, "foo"),
        ("/foo", "GET", {"x_kind": "a", "x_more": ""}, "both"),
        ("/foo", "GET", {"x_kind": "bbb"}, "pattern"),
        ("/foo", "GET", {"x_kind": "bbbc"}, "foo"),
        ("/foo?q=1", "GET", {}, "query"),
        ("/foo?q=10", "GET", {}, "foo"),
        ("/foo?q=1", "GET", {"x_kind": "a"}, "header"),
        ("/foo?r=&q=5", "GET", {}, "queries"),
        ("/test.Echo/Say", "POST", {}, "call"),
        ("/test.Echo/Other", "POST", {}, "service"),
        ("/any.Thing/Stop", "POST", {}, "method"),
        ("/one/more", "GET", {}, "many"),
        ("/two", "GET", {}, "many"),
        ("/two/", "GET", {}, "root"),
    ],
)
async def test_match(matching: TranslatedEdge, path: str, method: str, headers: dict[str, str], who: str) -> None:
    answer = await ask(matching, "match.edge.test", path, method, **headers)
    assert (answer.status_code, answer.text.split("\n")[0]) == (200, who)


async def test_nothing_fits(edge: TranslatedEdge) -> None:
    pools = await serve_pools(edge, "only")
    none = endpoint("https://none.edge.test", routes=(to("only", at("/only")),), pools=pools)
    await edge.publish(none)
    assert (await ask(edge, "none.edge.test", "/only")).status_code == 200
    missed = await ask(edge, "none.edge.test", "/")
    assert (missed.status_code, missed.headers["portico-error-code"]) == (404, str(errors.NO_ROUTE))
    rest = await edge.serve(http_upstream("rest"), "rest")
    await edge.publish(endpoint("https://none.edge.test", rest, routes=none.routes, pools=pools))
    assert (await ask(edge, "none.edge.test", "/")).text.startswith("rest\n")
    assert (await ask(edge, "none.edge.test", "/only")).text.startswith("only\n")


async def test_shares(edge: TranslatedEdge) -> None:
    pools = await serve_pools(edge, "nine", "one", "zero")
    backends = (Backend("nine", 9), Backend("one", 1), Backend("zero", 0))
    await edge.publish(endpoint("https://share.edge.test", routes=(Route("all", (), backends),), pools=pools))
    counts = await count(edge, "share.edge.test", 1_000)
    assert set(counts) == {"nine", "one"}
    assert 850 < counts["nine"] < 950  # more than five standard deviations each way


async def count(edge: TranslatedEdge, host: str, requests: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    reader, writer = await edge.open(host)
    for _ in range(requests):
        writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        answer = await read_answer(reader)
        counts[answer.headers.get("portico-error-code") or answer.text.split("\n")[0]] += 1
    writer.close()
    return counts


async def test_a_backend_that_is_none_and_one_that_is_offline(edge: TranslatedEdge) -> None:
    (good,) = await serve_pools(edge, "good")
    routes = (
        Route("half", (at("/half"),), (Backend("good"), Backend("missing"))),
        Route("none", (at("/none"),), (Backend("missing"),)),
        Route("empty", (at("/empty"),)),
        Route("zero", (at("/zero"),), (Backend("good", 0),)),
        Route("offline", (at("/offline"),), (Backend("offline"),)),
    )
    await edge.publish(endpoint("https://broken.edge.test", routes=routes, pools=(good, Pool("offline", ()))))
    half = {(await ask(edge, "broken.edge.test", "/half")).status_code for _ in range(40)}
    assert half == {200, 500}
    for path, code in (
        ("/none", errors.ROUTE_BROKEN),
        ("/empty", errors.ROUTE_BROKEN),
        ("/zero", errors.ROUTE_BROKEN),
        ("/offline", errors.POOL_OFFLINE),
    ):
        answer = await ask(edge, "broken.edge.test", path)
        assert (answer.status_code, answer.headers["portico-error-code"]) == (code.status, str(code)), path


async def test_a_policy_comes_first(edge: TranslatedEdge) -> None:
    policy = policy_text(
        rule(("deny", {"status_code": 451}), when=["req.url.path == '/a/no'"]),
        rule(("url-rewrite", {"from": "/old/(.*)", "to": "/a/$1"}), when=["req.url.path.startsWith('/old')"]),
        rule(("add-headers", {"headers": {"x-kind": "told"}}), when=["req.url.path == '/told'"]),
    )
    told = Match(headers=(FieldMatch("x-kind", "told"),))
    routes = (to("a", at("/a")), to("told", told), Route("own", (at("/own"),), answer=Answer(403, "own\n")))
    pools = await serve_pools(edge, "a", "told")
    await edge.publish(endpoint("https://policy.edge.test", routes=routes, pools=pools, traffic_policy=policy))
    seen = {
        path: await ask(edge, "policy.edge.test", path) for path in ("/a/no", "/a/b", "/old/c", "/told", "/own", "/")
    }
    assert seen["/a/no"].status_code == 451
    assert seen["/a/b"].text.startswith("a\nGET /a/b ")
    assert seen["/old/c"].text.startswith("a\nGET /a/c ")
    assert seen["/told"].text.startswith("told\n")
    assert (seen["/own"].status_code, seen["/own"].text) == (403, "own\n")
    assert seen["/"].headers["portico-error-code"] == str(errors.NO_ROUTE)
