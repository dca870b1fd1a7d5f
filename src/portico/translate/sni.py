"""Which chain a visitor enters by, from the server name (SNI) that TLS tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.names import candidates, is_wildcard
from portico.translate import names
from portico.translate.chains import TLS_SCHEMES, certificate_chain, chain_of
from portico.translate.networks import cidr_range
from portico.translate.typed import Body, extension, typed

_CHALLENGE_ALPN: Final = "'acme-tls/1'"
"""RFC 8737, as Envoy writes a list of protocols to match on."""


class Way(NamedTuple):
    """How visitors of one host come in."""

    chain: str
    ranges: tuple[str, ...] | None = None
    """CIDR of those who may; None for everybody. The connection of others ends before a handshake."""


@dataclass(frozen=True, slots=True)
class SniTable:
    """The chains of all hosts that are served by TLS. Immutable: a change costs the copy of a dict."""

    special: Mapping[str, Way] = field(default_factory=dict)
    """host → way, where it is not what the frame gives to any name."""
    usual: Mapping[str, Way] = field(default_factory=dict)
    """host → way, where it is."""
    wildcards: frozenset[str] = frozenset()
    """The wildcards among the special ones."""
    passing: frozenset[str] = frozenset()
    """The hosts whose TLS does not end at the edge."""

    def with_endpoint(self, endpoint: Endpoint, frame: EdgeFrame) -> Self:
        """The table with this endpoint (or with its changed settings); itself if nothing changes."""
        chain = chain_of(endpoint, frame)
        if chain is None:
            return self
        host = endpoint.url.host
        way = Way(chain, _ranges(endpoint))
        usual = way == Way(_chain_by_frame(host, frame))
        passes = endpoint.tls is None
        if (self.usual if usual else self.special).get(host) == way and passes == (host in self.passing):
            return self
        rest = self._without(host)
        if usual:
            return replace(rest, usual={**rest.usual, host: way})
        return replace(
            rest,
            special={**rest.special, host: way},
            wildcards=rest.wildcards | {host} if is_wildcard(host) else rest.wildcards,
            passing=rest.passing | {host} if passes else rest.passing,
        )

    def without(self, url: EndpointUrl) -> Self:
        """The table without an endpoint; itself if it has none. An http one may share its host with an https one."""
        return self._without(url.host) if url.scheme in TLS_SCHEMES else self

    def _without(self, host: str) -> Self:
        if host in self.special:
            special = _less(self.special, host)
            return replace(self, special=special, wildcards=self.wildcards - {host}, passing=self.passing - {host})
        if host in self.usual:
            return replace(self, usual=_less(self.usual, host))
        return self

    def matches_like(self, other: Self) -> bool:
        """Whether both give the same matcher, so that no listener needs to change."""
        if self.special is not other.special:
            return self.passing == other.passing and self.chains() == other.chains()
        return not self.wildcards or self.usual is other.usual or self.chains() == other.chains()

    def chains(self) -> Mapping[str, Way]:
        """host → way beyond the frame: the special ones, and the usual ones that a special wildcard would take."""
        if not self.wildcards:
            return self.special
        covered = {host: way for host, way in self.usual.items() if not self.wildcards.isdisjoint(candidates(host))}
        return {**self.special, **covered}


def _less(ways: Mapping[str, Way], host: str) -> dict[str, Way]:
    return {name: way for name, way in ways.items() if name != host}


def _ranges(endpoint: Endpoint) -> tuple[str, ...] | None:
    """Of bytes alone: requests are looked at one by one (`networks.py`), and may be refused in words."""
    return endpoint.networks.ranges() if endpoint.networks and not endpoint.is_http else None


def filter_chain_matcher(table: SniTable, frame: EdgeFrame) -> Body:
    """The listener's matcher: the most specific name wins; no name at all is an agent's (`on_no_match`)."""
    chains = {**_frame_wildcards(frame), **table.chains(), **_frame_hosts(frame)}
    visitors = _by_server_name(chains, names.CONNECT_CHAIN)
    if frame.challenges is None:
        return visitors
    looks = _by_server_name(_passing_chains(table), names.CHALLENGE_CHAIN)
    return {
        "matcher_tree": {
            "input": extension("alpn", "envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput"),
            "exact_match_map": {"map": {_CHALLENGE_ALPN: {"matcher": looks}}},
        },
        "on_no_match": {"matcher": visitors},
    }


def _by_server_name(ways: Mapping[str, Way], otherwise: str) -> Body:
    by_way: dict[Way, list[str]] = {}
    for host, way in ways.items():
        by_way.setdefault(way, []).append(host)
    if not by_way:
        return {"on_no_match": _to_chain(otherwise)}
    return {
        "matcher_tree": {
            "input": extension("sni", "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput"),
            "custom_match": extension(
                "envoy.matching.custom_matchers.domain_matcher",
                "xds.type.matcher.v3.ServerNameMatcher",
                domain_matchers=[{"domains": hosts, "on_match": _by_address(way)} for way, hosts in by_way.items()],
            ),
        },
        "on_no_match": _to_chain(otherwise),
    }


def _by_address(way: Way) -> Body:
    if way.ranges is None:
        return _to_chain(way.chain)
    match = {"ranges": list(map(cidr_range, way.ranges)), "on_match": _to_chain(way.chain)}
    tree = {
        "input": extension("address", "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput"),
        "custom_match": extension(
            "envoy.matching.custom_matchers.trie_matcher",
            "xds.type.matcher.v3.IPMatcher",
            range_matchers=[match] if way.ranges else [],
        ),
    }
    # Without a way for all others they would come to the way of those who tell no name.
    return {"matcher": {"matcher_tree": tree, "on_no_match": _to_chain(names.REFUSED_CHAIN)}}


def _passing_chains(table: SniTable) -> dict[str, Way]:
    """Where certificate authorities look behind the edge: whoever ends TLS there may have certificates in the making.

    A host that ends at the edge although a wildcard around it passes is the edge's.
    """
    chains = {host: table.special[host] for host in table.passing}
    wildcards = {host for host in table.passing if is_wildcard(host)}
    if wildcards:
        for host in (*table.special, *table.usual):
            if host not in chains and not wildcards.isdisjoint(candidates(host)):
                chains[host] = Way(names.CHALLENGE_CHAIN)
    return chains


def _frame_hosts(frame: EdgeFrame) -> dict[str, Way]:
    """Names that are the edge's, whatever endpoints there are."""
    return {
        frame.connect_host: Way(names.CONNECT_CHAIN),
        frame.domain: Way(names.CONNECT_CHAIN),
        "localhost": Way(names.CONNECT_CHAIN),
        frame.api_host: Way(certificate_chain(frame.api_host, frame)),
    }


def _frame_wildcards(frame: EdgeFrame) -> dict[str, Way]:
    below = {f"*.{frame.domain}": Way(names.EDGE_CHAIN)} if frame.covers_names else {}
    return {"*": Way(names.ON_DEMAND_CHAIN), **below}


def _chain_by_frame(host: str, frame: EdgeFrame) -> str:
    """What `_frame_wildcards` give to `host`: they cover any depth, unlike the edge's certificate."""
    if frame.covers_names and host.endswith(f".{frame.domain}"):
        return names.EDGE_CHAIN
    return names.ON_DEMAND_CHAIN


def _to_chain(name: str) -> Body:
    return {"action": {"name": name, "typed_config": typed("google.protobuf.StringValue", value=name)}}
