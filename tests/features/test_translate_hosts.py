"""Which endpoint answers for which host: spellings, wildcards, offline names, the way from http to https."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        sockets = {
            name: await running.serve(http_upstream(name), name) for name in ("one", "two", "wild", "inner", "p")
        }
        await running.publish(
            endpoint("https://one.edge.test", sockets["one"]),
            endpoint("https://two.owned.test", sockets["two"]),
            endpoint("https://*.wild.test", sockets["wild"]),
            endpoint("https://*.inner.wild.test", sockets["inner"]),
            endpoint("https://exact.wild.test", sockets["one"]),
            endpoint("http://plain.edge.test", sockets["p"]),
            endpoint("http://*.plain.test", sockets["p"]),
            endpoint("https://offline.edge.test"),
            endpoint("https://offline.owned.test"),
            endpoint("https://rewritten.edge.test", sockets["two"], host_header="inside.example:8080"),
        )
        yield running


@pytest.mark.parametrize(
    ("server_name", "host", "who"),
    [
        ("one.edge.test", None, "one"),
        ("one.edge.test", "one.edge.test:443", "one"),
        ("one.edge.test", "ONE.Edge.Test", "one"),
        ("one.edge.test", "one.edge.test.", "one"),
        ("one.edge.test", "One.edge.test.:8443", "one"),
        ("two.owned.test", None, "two"),
        ("a.wild.test", None, "wild"),
        ("a.b.c.wild.test", None, "wild"),
        ("A.wild.test", "A.WILD.test", "wild"),
        ("a.inner.wild.test", None, "inner"),
        ("a.b.inner.wild.test", None, "inner"),
        ("inner.wild.test", None, "wild"),
        ("exact.wild.test", None, "one"),
    ],
)
async def test_host_reaches_its_endpoint(edge: TranslatedEdge, server_name: str, host: str | None, who: str) -> None:
    answer = await edge.get(server_name, host=host)
    assert (answer.status, answer.text.split("\n")[0]) == (200, who)


@pytest.mark.parametrize(
    ("server_name", "host", "code"),
    [
        ("offline.edge.test", None, "PORTICO_3200"),
        ("offline.owned.test", None, "PORTICO_3200"),
        ("never.edge.test", None, "PORTICO_3200"),
        ("one.edge.test", "a.b.never.edge.test", "PORTICO_3200"),
        ("one.edge.test", "Never.Edge.TEST:8443", "PORTICO_3200"),
        ("one.edge.test", "elsewhere.example", "PORTICO_20020"),
        ("one.edge.test", "wild.test", "PORTICO_20020"),
        ("one.edge.test", "[::1]:443", "PORTICO_20020"),
        ("one.edge.test", "pub;one.edge.test", "PORTICO_3200"),
        ("one.edge.test", "notedge.test", "PORTICO_20020"),
        ("one.edge.test", ".".join("abcdefghijklmnopqrstuvwxyz") + ".wild.test", "PORTICO_20020"),
    ],
)
async def test_host_without_endpoint(edge: TranslatedEdge, server_name: str, host: str | None, code: str) -> None:
    answer = await edge.get(server_name, host=host)
    assert (answer.status, answer.headers.get("portico-error-code")) == (404, code)


async def test_plain_http_has_its_own_endpoints(edge: TranslatedEdge) -> None:
    for host in ("plain.edge.test", "Plain.edge.test:8080", "x.plain.test", "x.y.plain.test"):
        answer = await edge.get_plain(host)
        assert (answer.status, answer.text[0]) == (200, "p"), host
        assert "x-forwarded-proto: http\r\n" in answer.text
    assert (await edge.get("plain.edge.test")).status == 404


@pytest.mark.parametrize(
    "host", ["one.edge.test", "ONE.edge.test:80", "q.wild.test", "offline.edge.test", "api.edge.test"]
)
async def test_https_endpoint_is_redirected_to(edge: TranslatedEdge, host: str) -> None:
    answer = await edge.get_plain(host, "/path?query=1")
    name = host.lower().split(":")[0]
    assert (answer.status, answer.headers["location"]) == (308, f"https://{name}:{edge.https}/path?query=1")
    assert answer.body == b""


@pytest.mark.parametrize("header", ["x-edge-class", "X-Edge-Class"])
async def test_plain_visitor_cannot_name_the_class(edge: TranslatedEdge, header: str) -> None:
    answer = await edge.get_plain("one.edge.test", headers={header: "pub", "x-edge-host": "one.edge.test"})
    assert answer.status == 308


async def test_plain_host_without_endpoint(edge: TranslatedEdge) -> None:
    answers = [await edge.get_plain(host) for host in ("never.edge.test", "elsewhere.example")]
    assert [answer.headers["portico-error-code"] for answer in answers] == ["PORTICO_3200", "PORTICO_20020"]


async def test_upstream_sees_who_the_visitor_is_and_not_what_he_claims(edge: TranslatedEdge) -> None:
    claims = {
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-proto": "gopher",
        "x-forwarded-host": "evil.test",
        "x-forwarded-port": "1",
        "x-forwarded-client-cert": "By=evil",
        "x-envoy-internal": "true",
        "x-envoy-retry-on": "5xx",
        "x-edge-class": "evil",
        "x-edge-host": "two.owned.test",
        "x_forwarded_for": "6.6.6.6",
        "x-forwarded_for": "6.6.6.6",
        "X_Real-IP": "6.6.6.6",
        "content_length": "3",
        "api_key": "kept",
    }
    text = (await edge.get("one.edge.test", headers=claims)).text
    assert text.startswith("one\n")
    assert "x-forwarded-proto: https\r\n" in text
    assert "x-forwarded-host: one.edge.test\r\n" in text
    assert f"x-forwarded-port: {edge.https}\r\n" in text
    assert text.count("x-forwarded-for: ") == 1
    assert "api_key: kept\r\n" in text
    for trace in ("6.6.6.6", "gopher", "evil", "x-envoy", "x-edge", "content_length"):
        assert trace not in text


async def test_host_header_is_rewritten(edge: TranslatedEdge) -> None:
    text = (await edge.get("rewritten.edge.test")).text
    assert "host: inside.example:8080\r\n" in text
    assert "x-forwarded-host: rewritten.edge.test\r\n" in text


async def test_endpoint_comes_and_goes(edge: TranslatedEdge) -> None:
    address = await edge.serve(http_upstream("guest"), "guest")
    guest = endpoint("https://guest.edge.test", address)
    await edge.publish(guest)
    assert (await edge.get("guest.edge.test")).status == 200
    await edge.publish(endpoint("https://guest.edge.test"))
    assert (await edge.get("guest.edge.test")).headers["portico-error-code"] == "PORTICO_3200"
    await edge.publish(guest)
    assert (await edge.get("guest.edge.test")).status == 200
    await edge.remove(guest)
    assert (await edge.get("guest.edge.test")).status == 404
