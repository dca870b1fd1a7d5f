"""Variables that Lua cannot ask Envoy for: they come by private headers, which nobody forges and no upstream sees."""

import itertools
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kit.explained import Upstreams, ask, differences, explained
from kit.geoip import databases
from kit.policies import Served, policy_text, rule, serving
from kit.translated import Answer, TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import EdgeTls, UnixSocket
from portico.model.geoip import GeoDatabases
from portico.policy.request import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()
JA4 = re.compile(r"t1[23][di]\d{4}\w\w_[0-9a-f]{12}_[0-9a-f]{12}")
TOLD = "x-told"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TranslatedEdge]:
    async with translated_edge(geoip=databases(tmp_path_factory.mktemp("geoip")), fingerprints=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream"), "upstream")


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    return serving(edge, upstream)


def telling(*expressions: str) -> str:
    """A policy that tells the upstream the values of these."""
    return policy_text(rule(("add-headers", {"headers": {TOLD: "|".join(f"${{{one}}}" for one in expressions)}})))


def told(answer: Answer) -> str:
    found = re.search(rf"^{TOLD}: (.*)\r$", answer.text, re.MULTILINE)
    assert found is not None, answer.text
    return found[1]


async def test_the_fingerprint_of_the_handshake(edge: TranslatedEdge, served: Served) -> None:
    host = await served(telling("conn.tls.ja4_fingerprint"))
    found = [told(await edge.get(host)) for _ in range(2)]
    assert JA4.fullmatch(found[0])
    older = edge.visitor()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    other = told(await edge.get(host, tls=older))
    assert found[0] == found[1] != other
    assert other.startswith("t12")


async def test_when_the_connection_began(edge: TranslatedEdge, served: Served) -> None:
    host = await served(telling("string(conn.ts.start)", "conn.ts.start <= req.ts.header_received"))
    before = datetime.now(UTC)
    reader, writer = await edge.open(host)
    seen = []
    for _ in range(2):
        writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        text = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", text)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        seen.append(re.search(rf"^{TOLD}: (.*)\|true\r$", body.decode(), re.MULTILINE))
    writer.close()
    assert seen[0] is not None
    assert seen[1] is not None
    first, second = (datetime.fromisoformat(found[1]) for found in (seen[0], seen[1]))
    rounding = timedelta(milliseconds=1)
    assert abs(first - second) <= rounding  # the same for all requests of a connection
    assert before - rounding <= first <= datetime.now(UTC)


async def test_the_certificate_that_visitors_see(edge: TranslatedEdge, served: Served) -> None:
    server = "conn.tls.server"
    host = await served(
        telling(f"{server}.san.dns_names.join(',')", f"{server}.subject.common_name", f"{server}.subject")
    )
    names, common_name, subject = told(await edge.get(host)).split("|")
    assert "*.edge.test" in names.split(",")
    assert (common_name, subject) == ("edge.test", "CN=edge.test")


async def test_addresses_in_certificates(edge: TranslatedEdge, upstream: UnixSocket, tmp_path: Path) -> None:
    whole = edge.authority.issue("mutual.edge.test", "192.0.2.7")
    text = telling("conn.tls.client.san.ip_addresses.join('+')", "conn.tls.server.san.ip_addresses.join('+')")
    tls = EdgeTls(key_pair=whole, client_authorities=edge.authority.pem)
    await edge.publish(endpoint("https://mutual.edge.test", upstream, traffic_policy=text, owner="me", tls=tls))
    for names, addresses in ((("a.test", "192.0.2.8", "2001:db8::8"), "192.0.2.8+2001:db8::8"), (("a.test",), "")):
        visitor, pair = edge.visitor(), edge.authority.issue(*names)
        file = tmp_path / "pair.pem"
        file.write_text(pair.certificate + pair.key)
        visitor.load_cert_chain(file)
        assert told(await edge.get("mutual.edge.test", tls=visitor)) == f"{addresses}|192.0.2.7"


PLACES = (
    "conn.geo.city",
    "conn.geo.country_code",
    "conn.geo.subdivision",
    "conn.client_ip.geo.location.country_code",
    "string(conn.client_ip.as.number)",
    "conn.client_ip.as.organization",
    "string(conn.client_ip.is_tor_node)",
)


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("127.0.0.1", "München|DE|BY|DE|64500|Test Net|false"),
        ("127.0.0.2", "||||0||true"),
        ("127.0.0.3", "||||0||false"),
    ],
)
async def test_places_of_visitors(edge: TranslatedEdge, served: Served, address: str, values: str) -> None:
    host = await served(telling(*PLACES))
    upstreams = Upstreams()
    await edge.publish(
        endpoint(f"https://{host}", await upstreams.serve(edge, host), traffic_policy=telling(*PLACES), owner="me")
    )
    seen, _ = await ask(edge, upstreams, Visit(f"https://{host}/", client_ip=address))
    assert seen.upstream is not None
    assert list(seen.upstream.headers[TOLD]) == [values]


async def test_nobody_forges_a_fact_and_no_upstream_sees_one(edge: TranslatedEdge, served: Served) -> None:
    names = ("conn-tls-ja4-fingerprint", "city", "country", "asn", "anon-tor", "conn-tls-client-san-ip-addresses")
    forged = {f"x-edge-fact-{name}": "true" for name in names}
    ips = "conn.tls.client.san.ip_addresses"
    tor = policy_text(
        rule(("custom-response", {"status_code": 418, "body": "forged"}), when=["conn.client_ip.is_tor_node"]),
        rule(("add-headers", {"headers": {TOLD: "${conn.geo.city}|${conn.tls.ja4_fingerprint}"}})),
        rule(("add-headers", {"headers": {"x-forged": f"${{{ips}[0]}}"}}), when=[f"{ips}.size() > 0"]),
    )
    answer = await edge.get(await served(tor), headers=forged)
    city, ja4 = told(answer).split("|")
    assert city == "München"
    assert JA4.fullmatch(ja4)
    assert "x-edge-" not in answer.text
    assert "x-forged" not in answer.text


async def test_the_response_knows_what_the_request_was_told(edge: TranslatedEdge, served: Served) -> None:
    rules = [rule(("add-headers", {"headers": {TOLD: "${conn.tls.ja4_fingerprint} ${conn.geo.country_code}"}}))]
    answer = await edge.get(await served(policy_text(response=rules)))
    ja4, country = answer.headers[TOLD].split()
    assert JA4.fullmatch(ja4)
    assert country == "DE"


async def test_facts_on_the_way_to_an_internal_endpoint(edge: TranslatedEdge, served: Served) -> None:
    inner = telling("conn.tls.ja4_fingerprint", "conn.geo.city")
    await served(inner, url="https://facts.internal")
    outer = policy_text(
        rule(("add-headers", {"headers": {"x-outer": "${conn.geo.country_code}"}})),
        rule(("forward-internal", {"url": "https://facts.internal"})),
    )
    answer = await edge.get(await served(outer))
    assert JA4.match(told(answer))
    assert told(answer).endswith("|München")
    assert "x-outer: DE" in answer.text
    await served("", url="https://plain.internal")
    forwarding = policy_text(
        rule(("add-headers", {"headers": {"x-outer": "${conn.geo.country_code}"}})),
        rule(("forward-internal", {"url": "https://plain.internal"})),
    )
    answer = await edge.get(await served(forwarding))
    assert "x-outer: DE" in answer.text
    assert "x-edge-" not in answer.text


async def test_where_there_is_no_tls_there_is_no_fingerprint(edge: TranslatedEdge, upstream: UnixSocket) -> None:
    policy = policy_text(rule(("deny", {"status_code": 451}), when=["conn.tls.ja4_fingerprint == 'x'"]))
    await edge.publish(endpoint("http://plain.edge.test", upstream, traffic_policy=policy, owner="me"))
    assert (await edge.get_plain("plain.edge.test")).status == 403


async def test_without_the_database_what_reads_it_fails(edge: TranslatedEdge, upstream: UnixSocket) -> None:
    without = replace(edge, frame=replace(edge.frame, geoip=GeoDatabases()))
    policy = policy_text(rule(("deny", {"status_code": 451}), when=["conn.geo.country_code == 'DE'"]))
    await without.publish(endpoint("https://without.edge.test", upstream, traffic_policy=policy, owner="me"))
    assert (await edge.get("without.edge.test")).status == 403


@pytest.mark.parametrize(
    ("when", "address"),
    [
        ("conn.geo.country_code == 'DE'", "127.0.0.1"),
        ("conn.geo.country_code == 'DE'", "127.0.0.3"),
        ("!(conn.geo.country_code in ['DE', 'FR'])", "127.0.0.3"),
        ("conn.client_ip.is_tor_node", "127.0.0.2"),
        ("conn.client_ip.as.number == 64500 && conn.geo.subdivision != ''", "127.0.0.1"),
        ("conn.ts.start < timestamp('2020-01-01T00:00:00Z')", "127.0.0.1"),
    ],
)
async def test_explain_and_envoy_agree(edge: TranslatedEdge, when: str, address: str) -> None:
    host, upstreams = f"f{next(_numbers)}.edge.test", Upstreams()
    policy = policy_text(rule(("deny", {"status_code": 451}), when=[when]))
    address_of = await upstreams.serve(edge, host)
    await edge.publish(endpoint(f"https://{host}", address_of, traffic_policy=policy, owner="me"))
    visit = Visit(f"https://{host}/", client_ip=address)
    seen, facts = await ask(edge, upstreams, visit)
    assert differences(explained(policy, visit, {**facts, **_places(address)}), seen) == []


def _places(address: str) -> dict[str, Any]:
    munich = {"conn.geo.country_code": "DE", "conn.geo.subdivision": "BY", "conn.client_ip.as.number": 64_500}
    return {"127.0.0.1": munich, "127.0.0.2": {"conn.client_ip.is_tor_node": True}}.get(address, {})
