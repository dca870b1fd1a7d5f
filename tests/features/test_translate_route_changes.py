"""What routes change on the way, in the real Envoy: headers, hosts, paths, answers of the edge's own."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import Pool
from portico.model.route import (
    Answer,
    Backend,
    Cors,
    HeaderChanges,
    Match,
    PathChange,
    PathKind,
    PathMatch,
    Redirect,
    Rewrite,
    Route,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "changes.edge.test"
ECHO = (Backend("echo"),)


def rewritten(prefix: str, path: PathChange, kind: PathKind = PathKind.PREFIX) -> Route:
    return Route(prefix, (Match(PathMatch(kind, prefix)),), ECHO, rewrite=Rewrite(path=path))


def redirected(prefix: str, redirect: Redirect) -> Route:
    return Route(prefix, (Match(PathMatch(PathKind.PREFIX, prefix)),), redirect=redirect)


def under(prefix: str, **fields: object) -> Route:
    return Route(prefix, (Match(PathMatch(PathKind.PREFIX, prefix)),), **fields)  # type: ignore[arg-type]


ROUTES = (
    rewritten("/to-other", PathChange("/other", prefix=True)),
    rewritten("/to-slash", PathChange("/other/", prefix=True)),
    rewritten("/to-root", PathChange("/", prefix=True)),
    rewritten("/", PathChange("/below", prefix=True)),
    rewritten("/a.b", PathChange("/$1\\1", prefix=True)),
    rewritten("/a.b/", PathChange("/", prefix=True)),
    rewritten("/full", PathChange("/new/path")),
    rewritten("/r[0-9]+/.*", PathChange("/new"), PathKind.REGEX),
    under("/host", backends=ECHO, rewrite=Rewrite(host="inner.example")),
    under("/pool-host", backends=(Backend("hosted"),)),
    under("/backend-host", backends=(Backend("hosted", host="backend.example"),)),
    under(
        "/headers",
        backends=(
            Backend(
                "echo",
                request_headers=HeaderChanges(set=(("x-of-backend", "1"),), remove=("x-gone-there",)),
                response_headers=HeaderChanges(set=(("x-answer-of-backend", "2"),)),
            ),
        ),
        request_headers=HeaderChanges(
            set=(("x-set", "%REQ(host)% 100%"), ("x-new", "")), add=(("x-add", "second"),), remove=("x-gone",)
        ),
        response_headers=HeaderChanges(set=(("x-answer", "%"),), add=(("x-more", "b"),), remove=("x-secret",)),
    ),
    redirected("/https", Redirect(scheme="https", host="other.example", port=8443, status=301)),
    redirected("/see", Redirect(status=303, path=PathChange("/seen"))),
    redirected("/moved/", Redirect(status=308, path=PathChange("/new", prefix=True))),
    redirected("/up", Redirect(status=307, path=PathChange("/", prefix=True))),
    under(
        "/answer",
        answer=Answer(200, '{"a": "100%"}', "application/json"),
        response_headers=HeaderChanges(set=(("x-own", "yes"),)),
    ),
    *(
        under(f"/status/{status}", answer=Answer(status, f"own {status}\n"))
        for status in (400, 403, 404, 413, 429, 431, 507)
    ),
    under("/empty", answer=Answer(204)),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        answers = {"x-secret": "inside", "x-more": "a", "x-answer": "upstream"}
        echo = await running.serve(http_upstream("echo", answers), "echo")
        pools = (Pool("echo", (echo,)), Pool("hosted", (echo,), host_header="pool.example"))
        await running.publish(endpoint(f"https://{HOST}", routes=ROUTES, pools=pools))
        yield running


async def ask(edge: TranslatedEdge, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=edge.visitor(), timeout=30, trust_env=False) as visitor:
        named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await visitor.get(
            f"https://127.0.0.1:{edge.https}{path}", headers=named, extensions={"sni_hostname": HOST}
        )


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/to-other", "/other"),
        ("/to-other/", "/other/"),
        ("/to-other/a/b?c=d", "/other/a/b?c=d"),
        ("/to-other?c", "/other?c"),
        ("/to-slash", "/other"),
        ("/to-slash/a", "/other/a"),
        ("/to-root", "/"),
        ("/to-root/", "/"),
        ("/to-root/a?b", "/a?b"),
        ("/x/y", "/below/x/y"),
        ("/", "/below/"),
        ("/aXb", "/below/aXb"),
        ("/full/of/it?q=1", "/new/path?q=1"),
        ("/r12/a/b?q", "/new?q"),
    ],
)
async def test_path(edge: TranslatedEdge, asked: str, seen: str) -> None:
    assert (await ask(edge, asked)).text.split("\n")[1].split(" ")[1] == seen


async def test_what_looks_like_an_expression_is_text(edge: TranslatedEdge) -> None:
    assert "GET /$1\\1/c HTTP" in (await ask(edge, "/a.b/c")).text


@pytest.mark.parametrize(
    ("path", "host"), [("/host", "inner.example"), ("/pool-host", "pool.example"), ("/backend-host", "backend.example")]
)
async def test_host(edge: TranslatedEdge, path: str, host: str) -> None:
    text = (await ask(edge, path)).text
    assert f"host: {host}\r\n" in text
    assert f"x-forwarded-host: {HOST}\r\n" in text


async def test_headers(edge: TranslatedEdge) -> None:
    answer = await ask(edge, "/headers", x_set="old", x_add="first", x_gone="1", x_gone_there="1")
    seen = answer.text
    assert "x-set: %REQ(host)% 100%\r\n" in seen
    assert "x-new: \r\n" in seen
    assert seen.count("x-add: ") == 2
    assert "x-of-backend: 1\r\n" in seen
    assert "x-gone" not in seen
    assert (answer.headers["x-answer"], answer.headers["x-answer-of-backend"]) == ("%", "2")
    assert answer.headers.get_list("x-more", split_commas=True) == ["a", "b"]
    assert "x-secret" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/https/a?b", 301, "https://other.example:8443/https/a?b"),
        ("/see/a?b", 303, f"https://{HOST}/seen?b"),
        ("/moved", 308, f"https://{HOST}/new"),
        ("/moved/a/b?c", 308, f"https://{HOST}/new/a/b?c"),
        ("/up/a", 307, f"https://{HOST}/a"),
        ("/up", 307, f"https://{HOST}/"),
    ],
)
async def test_redirect(edge: TranslatedEdge, path: str, status: int, location: str) -> None:
    answer = await ask(edge, path)
    assert (answer.status_code, answer.headers["location"]) == (status, location)


async def test_answer(edge: TranslatedEdge) -> None:
    answer = await ask(edge, "/answer", accept="text/html")
    assert (answer.status_code, answer.text, answer.headers["x-own"]) == (200, '{"a": "100%"}', "yes")
    assert answer.headers["content-type"] == "application/json"
    empty = await ask(edge, "/empty")
    assert (empty.status_code, empty.text) == (204, "")


@pytest.mark.parametrize("status", [400, 403, 404, 413, 429, 431, 507])
async def test_an_answer_is_no_page(edge: TranslatedEdge, status: int) -> None:
    answer = await ask(edge, f"/status/{status}")
    assert (answer.status_code, answer.text) == (status, f"own {status}\n")
    assert "portico-error-code" not in answer.headers


async def test_pages_of_other_origins(edge: TranslatedEdge) -> None:
    with_credentials = Cors(("https://a.example",), ("POST",), ("x-key",), ("x-more",), credentials=True, max_age=60)
    routes = (
        Route("one", (Match(PathMatch(PathKind.PREFIX, "/one"), ("POST",)),), ECHO, cors=with_credentials),
        Route("all", (Match(PathMatch(PathKind.PREFIX, "/all")),), ECHO, cors=Cors(("*",))),
        Route("some", (Match(PathMatch(PathKind.PREFIX, "/some")),), ECHO, cors=Cors(("https://*.b.example",))),
        Route("rest", (), ECHO),
    )
    echo = await edge.serve(http_upstream("echo", {"x-more": "a"}), "cors")
    await edge.publish(endpoint("https://cors.edge.test", routes=routes, pools=(Pool("echo", (echo,)),)))

    async def asked(method: str, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(verify=edge.visitor(), timeout=30, trust_env=False) as visitor:
            named = {"host": "cors.edge.test", **{name.replace("_", "-"): text for name, text in headers.items()}}
            sni = {"sni_hostname": "cors.edge.test"}
            return await visitor.request(method, f"https://127.0.0.1:{edge.https}{path}", headers=named, extensions=sni)

    wish = {"access_control_request_method": "POST", "access_control_request_headers": "x-key"}
    before = await asked("OPTIONS", "/one", origin="https://a.example", **wish)
    told = {name.removeprefix("access-control-"): text for name, text in before.headers.items() if "access" in name}
    assert before.status_code == 200
    assert before.text == ""
    assert told == {
        "allow-origin": "https://a.example",
        "allow-credentials": "true",
        "allow-methods": "POST",
        "allow-headers": "x-key",
        "expose-headers": "x-more",
        "max-age": "60",
    }
    answer = await asked("POST", "/one", origin="https://a.example")
    assert answer.text.startswith("echo\n")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["access-control-expose-headers"] == "x-more"
    for path, origin, allowed in (
        ("/one", "https://b.example", False),
        ("/all", "https://b.example", True),
        ("/some", "https://x.y.b.example", True),
        ("/some", "https://b.example", False),
        ("/some", "https://x.b.example.evil.example", False),
        ("/some", "http://x.b.example", False),
        ("/rest", "https://a.example", False),
    ):
        headers = (await asked("POST", path, origin=origin)).headers
        assert ("access-control-allow-origin" in headers) is allowed, (path, origin)
