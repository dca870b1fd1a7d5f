"""Who answers certificate authorities: the listener's matcher for `acme-tls/1`, and the filter for port 80."""

from dataclasses import replace

from portico.model.edge import ChallengeSockets, EdgeFrame, SocketAddress
from portico.model.endpoint import EdgeTls, Endpoint, EndpointUrl
from portico.translate import names
from portico.translate.connection_manager import connection_manager
from portico.translate.listeners import frame_resources, listener_resources
from portico.translate.sni import SniTable, filter_chain_matcher

OFF = EdgeFrame(
    "edge.test", SocketAddress("127.0.0.1", 443), SocketAddress("127.0.0.1", 80), "127.0.0.1", ("/a",), "/api", "x-m"
)
ON = replace(OFF, challenges=ChallengeSockets("/http", "/tls"))


def endpoint(url: str, tls: EdgeTls | None) -> Endpoint:
    return Endpoint(EndpointUrl.parse(url), (), tls)


def looks(table: SniTable) -> dict[str, str]:
    """host → chain for a handshake of an authority; `""` for all others."""
    tree = filter_chain_matcher(table, ON)["matcher_tree"]
    matcher = tree["exact_match_map"]["map"]["'acme-tls/1'"]["matcher"]
    found = {"": matcher["on_no_match"]["action"]["name"]}
    if "matcher_tree" in matcher:
        for entry in matcher["matcher_tree"]["custom_match"]["typed_config"]["domain_matchers"]:
            found |= dict.fromkeys(entry["domains"], entry["on_match"]["action"]["name"])
    return found


def table(*endpoints: Endpoint) -> SniTable:
    made = SniTable()
    for one in endpoints:
        made = made.with_endpoint(one, ON)
    return made


def test_nothing_is_there_where_the_authority_is_the_edges_own() -> None:
    text = str([*frame_resources(OFF), *listener_resources(OFF, SniTable())])
    assert "acme" not in text
    assert names.LOCAL_CERTIFICATE not in text


def test_the_edge_answers_but_for_hosts_whose_tls_ends_elsewhere() -> None:
    made = table(
        endpoint("https://www.example.org:443", EdgeTls()),
        endpoint("tls://bytes.example.org:443", EdgeTls()),
        endpoint("tls://passing.example.org:443", None),
    )
    assert looks(SniTable()) == {"": names.CHALLENGE_CHAIN}
    assert looks(made) == {"": names.CHALLENGE_CHAIN, "passing.example.org": names.PASS_THROUGH_CHAIN}


def test_a_host_that_ends_here_within_a_wildcard_that_passes_is_the_edges() -> None:
    made = table(
        endpoint("tls://*.example.org:443", None),
        endpoint("https://www.example.org:443", EdgeTls()),
        endpoint("https://www.example.net:443", EdgeTls()),
    )
    assert looks(made) == {
        "": names.CHALLENGE_CHAIN,
        "*.example.org": "tls://*.example.org",
        "www.example.org": names.CHALLENGE_CHAIN,
    }


def test_a_wildcard_that_begins_to_end_here_changes_the_matcher() -> None:
    passing = table(endpoint("tls://*.example.org:443", None))
    ending = passing.with_endpoint(endpoint("tls://*.example.org:443", EdgeTls()), ON)
    assert not ending.matches_like(passing)
    assert looks(ending) == {"": names.CHALLENGE_CHAIN}
    assert ending.without(EndpointUrl.parse("tls://*.example.org:443")) == SniTable()


def filters(scope_class: str) -> list[str]:
    manager = connection_manager(ON, scope_class, stat_prefix="test")
    return [one["name"] for one in manager["typed_config"]["http_filters"]]


def test_the_filter_stands_first_and_on_port_80_alone() -> None:
    assert filters(names.PLAIN)[0] == "challenges"
    assert "challenges" not in filters(names.PUBLIC)


def test_without_a_wildcard_each_name_below_the_domain_has_a_certificate() -> None:
    alone = replace(ON, wildcard=False)
    assert names.EDGE_CHAIN not in str(filter_chain_matcher(SniTable(), alone))
    assert names.EDGE_CHAIN in str(filter_chain_matcher(SniTable(), ON)["on_no_match"])
