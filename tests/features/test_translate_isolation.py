"""A request that came in by a chain with weaker rules never reaches a host that demands more."""

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from kit.translated import Authority, TranslatedEdge, endpoint, http_upstream, read_answer, translated_edge
from portico.model.endpoint import ClientVerification, EdgeTls, TlsVersion

pytestmark = pytest.mark.asyncio(loop_scope="module")
members = Authority("members CA")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        address = await running.serve(http_upstream("reached"), "reached")
        asks = EdgeTls(client_authorities=members.pem)
        await running.publish(
            endpoint("https://public.edge.test", address),
            endpoint("https://strict.edge.test", address, tls=asks),
            endpoint("https://strict.owned.test", address, tls=asks),
            endpoint("https://*.strictwild.test", address, tls=asks),
            endpoint("https://open.strictwild.test", address),
            endpoint("https://modern.edge.test", address, tls=EdgeTls(minimum=TlsVersion.TLS_1_3)),
            endpoint(
                "https://maybe.edge.test",
                address,
                tls=EdgeTls(client_authorities=members.pem, verification=ClientVerification.VERIFY_IF_GIVEN),
            ),
            endpoint(
                "https://asked.edge.test",
                address,
                tls=EdgeTls(client_authorities=members.pem, verification=ClientVerification.REQUEST),
            ),
        )
        yield running


STRICT = ["strict.edge.test", "strict.owned.test", "a.strictwild.test", "modern.edge.test"]
SPELLINGS = ["{}", "{}.", "{}:443", "{}.:443"]


@pytest.mark.parametrize("spelling", [*SPELLINGS, "*.strictwild.test"])
@pytest.mark.parametrize("target", STRICT)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
async def test_host_of_another_chain_is_misdirected(edge: TranslatedEdge, spelling, target, change) -> None:
    host = change(spelling.format(target))
    answer = await edge.get("public.edge.test", host=host)
    assert (answer.status, answer.headers["portico-error-code"]) == (421, "PORTICO_20026")
    assert "reached" not in answer.text


@pytest.mark.parametrize("target", STRICT)
async def test_spoofed_inner_headers_change_nothing(edge: TranslatedEdge, target: str) -> None:
    for value in (f"https://{target}", "https://*.strictwild.test", "plain", "pub"):
        spoof = {"x-edge-class": value, "X-EDGE-CLASS": value, "x-edge-host": target}
        answer = await edge.get("public.edge.test", host=target, headers=spoof)
        assert answer.status == 421
    assert (await edge.get_plain(target, headers={"x-edge-class": f"https://{target}"})).status == 308


async def test_absolute_form_is_judged_by_its_own_host(edge: TranslatedEdge) -> None:
    request = b"GET https://strict.edge.test/ HTTP/1.1\r\nhost: public.edge.test\r\nconnection: close\r\n\r\n"
    reader, writer = await edge.open("public.edge.test")
    writer.write(request)
    assert (await read_answer(reader)).status == 421
    writer.close()


@pytest.mark.parametrize("host", ["public.edge.test", "maybe.edge.test", "never.edge.test", "STRICT.owned.test"])
async def test_own_chain_serves_its_own_host_alone(edge: TranslatedEdge, host: str) -> None:
    visitor = edge.visitor(members.issue("member"))
    assert (await edge.get("strict.edge.test", host="STRICT.edge.test:443", tls=visitor)).status == 200
    assert (await edge.get("strict.edge.test", host=host, tls=visitor)).status == 421


@pytest.mark.parametrize("name", ["strict.edge.test", "strict.owned.test", "a.strictwild.test", "a.b.strictwild.test"])
async def test_certificate_opens(edge: TranslatedEdge, name: str) -> None:
    visitor = edge.visitor(members.issue("member"))
    answer = await edge.get(name, tls=visitor)
    assert (answer.status, answer.text.split("\n")[0]) == (200, "reached")
    assert "x-forwarded-client-cert: Hash=" in answer.text


@pytest.mark.parametrize("name", ["strict.edge.test", "a.strictwild.test"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_certificate_or_a_foreign_one_ends_the_handshake(edge: TranslatedEdge, name, version) -> None:
    for pair in (None, Authority("strangers CA").issue("stranger")):
        visitor = edge.visitor(pair)
        visitor.maximum_version = visitor.minimum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            await edge.get(name, tls=visitor)


async def test_wildcard_rules_spare_the_exact_name(edge: TranslatedEdge) -> None:
    assert (await edge.get("open.strictwild.test")).status == 200


async def test_minimum_version(edge: TranslatedEdge) -> None:
    old = edge.visitor()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await edge.get("public.edge.test", tls=old)).status == 200
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        await edge.get("modern.edge.test", tls=old)
    assert (await edge.get("modern.edge.test")).status == 200


async def test_optional_certificates(edge: TranslatedEdge) -> None:
    stranger = Authority("strangers CA").issue("stranger")
    assert (await edge.get("maybe.edge.test")).status == 200
    assert (await edge.get("maybe.edge.test", tls=edge.visitor(members.issue("member")))).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await edge.get("maybe.edge.test", tls=edge.visitor(stranger))
    assert (await edge.get("asked.edge.test")).status == 200
    assert (await edge.get("asked.edge.test", tls=edge.visitor(stranger))).status == 200


async def test_http2_is_held_to_the_same(edge: TranslatedEdge) -> None:
    transport = httpx.AsyncHTTPTransport(verify=edge.visitor(), http2=True)
    async with httpx.AsyncClient(transport=transport, timeout=60) as visitor:
        for host, status in {"public.edge.test": 200, "strict.edge.test": 421, "STRICT.Owned.test": 421}.items():
            answer = await visitor.get(
                f"https://127.0.0.1:{edge.https}/",
                headers={"host": host, "x-edge-class": f"https://{host}"},
                extensions={"sni_hostname": "public.edge.test"},
            )
            assert (answer.status_code, answer.http_version) == (status, "HTTP/2")
