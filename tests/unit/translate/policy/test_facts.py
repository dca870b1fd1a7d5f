from dataclasses import replace

import pytest

from kit.policies import policy_text, rule
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import Endpoint, EndpointUrl, Scheme
from portico.model.errors import NOT_SERVED, PorticoError
from portico.model.geoip import GeoDatabases
from portico.translate.policy.facts import FACTS, HEADERS, fact_filters, header_of
from portico.translate.policy.unknown import refuse_unknown_facts

ALL = GeoDatabases("/city", "/country", "/asn", "/anonymous")
FRAME = EdgeFrame("edge.test", SocketAddress("127.0.0.1", 1), None, "127.0.0.1", (), "", "x-mark", geoip=ALL)


def asking(expression: str, url: str = "https://a.test:443") -> Endpoint:
    scheme = Scheme(url.partition(":")[0])
    one = rule(("deny", {}) if scheme is Scheme.HTTPS else ("close-connection", {}), when=[expression])
    text = policy_text(one) if scheme is Scheme.HTTPS else policy_text(connect=[one], scheme=scheme)
    return Endpoint(EndpointUrl.parse(url), (), traffic_policy=text)


def test_who_reads_no_fact_pays_for_none() -> None:
    assert fact_filters({"conn.client_ip", "req.method"}, ALL) == ([], [])


def test_only_what_is_read_is_written_and_all_that_is_not_is_taken() -> None:
    (writer,), looked_up = fact_filters({"conn.tls.ja4_fingerprint"}, ALL)
    mutations = writer["typed_config"]["mutations"]["request_mutations"]
    assert [one["remove"] for one in mutations[:-1]] == HEADERS
    assert mutations[-1]["append"]["header"]["value"] == "%TLS_JA4_FINGERPRINT%"
    assert looked_up == []


@pytest.mark.parametrize(
    ("variable", "paths"),
    [
        ("conn.geo.city", {"city_db_path"}),
        ("conn.geo.country_code", {"city_db_path", "country_db_path"}),
        ("conn.client_ip.as.number", {"asn_db_path"}),
        ("conn.client_ip.is_tor_node", {"anon_db_path"}),
    ],
)
def test_databases_are_opened_where_they_are_read(variable: str, paths: set[str]) -> None:
    _, (geoip,) = fact_filters({variable}, ALL)
    provider = geoip["typed_config"]["provider"]["typed_config"]
    assert {key for key in provider if key.endswith("_db_path")} == paths
    assert list(provider["common_provider_config"]["geo_field_keys"].values()) == [header_of(variable)]


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("conn.geo.city == ''", "city"),
        ("conn.geo.country_code == 'DE'", "city or country"),
        ("conn.client_ip.as.number == 1", "ASN"),
        ("conn.client_ip.is_tor_node", "anonymous"),
    ],
)
def test_a_policy_that_reads_a_database_that_is_not_there_is_refused(expression: str, kind: str) -> None:
    endpoint = asking(expression)
    refuse_unknown_facts(endpoint, FRAME)
    with pytest.raises(PorticoError) as caught:
        refuse_unknown_facts(endpoint, replace(FRAME, geoip=GeoDatabases()))
    assert caught.value.code is NOT_SERVED
    assert f"no {kind} database" in caught.value.message
    assert "geoip_databases" in str(caught.value.fix)


@pytest.mark.parametrize("url", ["https://a.test", "tls://a.test:443"])
def test_a_policy_that_reads_fingerprints_that_nobody_takes_is_refused(url: str) -> None:
    endpoint = asking("conn.tls.ja4_fingerprint == 'x'", url)
    refuse_unknown_facts(endpoint, replace(FRAME, fingerprints=True))
    with pytest.raises(PorticoError) as caught:
        refuse_unknown_facts(endpoint, FRAME)
    assert caught.value.code is NOT_SERVED
    assert "tls_fingerprints" in str(caught.value.fix)


def test_countries_are_in_either_of_two_databases() -> None:
    endpoint = asking("conn.geo.country_code == 'DE'")
    for databases in (GeoDatabases(city="/city"), GeoDatabases(country="/country")):
        refuse_unknown_facts(endpoint, replace(FRAME, geoip=databases))


def test_an_endpoint_of_bytes_knows_no_places() -> None:
    refuse_unknown_facts(asking("conn.ts.start < timestamp(time.now)", "tls://a.test:443"), FRAME)
    with pytest.raises(PorticoError, match="tls endpoints cannot read") as caught:
        asking("conn.geo.city == 'x'", "tls://a.test:443")
    assert caught.value.code is NOT_SERVED


def test_every_fact_has_a_header_that_is_private() -> None:
    assert all(header_of(name) in HEADERS and header_of(name).startswith("x-edge-fact-") for name in FACTS)
