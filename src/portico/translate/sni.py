"""Which chain a visitor enters by, from the server name (SNI) that TLS tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.names import candidates, is_wildcard
from portico.translate import names
from portico.translate.chains import TLS_SCHEMES, certificate_chain, chain_of
from portico.translate.typed import Body, extension, typed


@dataclass(frozen=True, slots=True)
class SniTable:
    """The chains of all hosts that are served by TLS. Immutable: a change costs the copy of a dict."""

    special: Mapping[str, str] = field(default_factory=dict)
    """host → chain, where it is not what the frame gives to any name."""
    usual: Mapping[str, str] = field(default_factory=dict)
    """host → chain, where it is."""
    wildcards: frozenset[str] = frozenset()
    """The wildcards among the special ones."""

    def with_endpoint(self, endpoint: Endpoint, frame: EdgeFrame) -> Self:
        """The table with this endpoint (or with its changed settings); itself if nothing changes."""
        chain = chain_of(endpoint, frame)
        if chain is None:
            return self
        host = endpoint.url.host
        usual = chain == _chain_by_frame(host, frame)
        if (self.usual if usual else self.special).get(host) == chain:
            return self
        rest = self._without(host)
        if usual:
            return type(self)(rest.special, {**rest.usual, host: chain}, rest.wildcards)
        wildcards = rest.wildcards | {host} if is_wildcard(host) else rest.wildcards
        return type(self)({**rest.special, host: chain}, rest.usual, wildcards)

    def without(self, url: EndpointUrl) -> Self:
        """The table without an endpoint; itself if it has none. An http one may share its host with an https one."""
        return self._without(url.host) if url.scheme in TLS_SCHEMES else self

    def _without(self, host: str) -> Self:
        if host in self.special:
            return type(self)(_less(self.special, host), self.usual, self.wildcards - {host})
        if host in self.usual:
            return type(self)(self.special, _less(self.usual, host), self.wildcards)
        return self

    def matches_like(self, other: Self) -> bool:
        """Whether both give the same matcher, so that no listener needs to change."""
        if self.special is not other.special:
            return self.chains() == other.chains()
        return not self.wildcards or self.usual is other.usual or self.chains() == other.chains()

    def chains(self) -> Mapping[str, str]:
        """host → chain beyond the frame: the special ones, and the usual ones that a special wildcard would take."""
        if not self.wildcards:
            return self.special
        covered = {host: chain for host, chain in self.usual.items() if not self.wildcards.isdisjoint(candidates(host))}
        return {**self.special, **covered}


def _less(chains: Mapping[str, str], host: str) -> dict[str, str]:
    return {name: chain for name, chain in chains.items() if name != host}


def filter_chain_matcher(table: SniTable, frame: EdgeFrame) -> Body:
    """The listener's matcher: the most specific name wins; no name at all is an agent's (`on_no_match`)."""
    by_chain: dict[str, list[str]] = {}
    for host, chain in {**_frame_wildcards(frame), **table.chains(), **_frame_hosts(frame)}.items():
        by_chain.setdefault(chain, []).append(host)
    return {
        "matcher_tree": {
            "input": extension("sni", "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput"),
            "custom_match": extension(
                "envoy.matching.custom_matchers.domain_matcher",
                "xds.type.matcher.v3.ServerNameMatcher",
                domain_matchers=[{"domains": hosts, "on_match": _to_chain(chain)} for chain, hosts in by_chain.items()],
            ),
        },
        "on_no_match": _to_chain(names.CONNECT_CHAIN),
    }


def _frame_hosts(frame: EdgeFrame) -> dict[str, str]:
    """Names that are the edge's, whatever endpoints there are."""
    return {
        frame.connect_host: names.CONNECT_CHAIN,
        frame.domain: names.CONNECT_CHAIN,
        "localhost": names.CONNECT_CHAIN,
        frame.api_host: certificate_chain(frame.api_host, frame),
    }


def _frame_wildcards(frame: EdgeFrame) -> dict[str, str]:
    below = {f"*.{frame.domain}": names.EDGE_CHAIN} if "." in frame.domain else {}
    return {"*": names.ON_DEMAND_CHAIN, **below}


def _chain_by_frame(host: str, frame: EdgeFrame) -> str:
    """What `_frame_wildcards` give to `host`: they cover any depth, unlike the edge's certificate."""
    if "." in frame.domain and host.endswith(f".{frame.domain}"):
        return names.EDGE_CHAIN
    return names.ON_DEMAND_CHAIN


def _to_chain(name: str) -> Body:
    return {"action": {"name": name, "typed_config": typed("google.protobuf.StringValue", value=name)}}
