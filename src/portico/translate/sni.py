"""Which chain a visitor enters by, from the server name (SNI) that TLS tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.model.names import candidates, is_wildcard
from portico.translate import names
from portico.translate.chains import certificate_chain, chain_of
from portico.translate.typed import Body, extension, typed


@dataclass(frozen=True, slots=True)
class SniTable:
    """The chains of all hosts that are served by TLS. Immutable: a change costs the copy of a dict."""

    special: Mapping[str, str] = field(default_factory=dict)
    """host → chain, where it is not what the frame gives to any name."""
    usual: Mapping[str, str] = field(default_factory=dict)
    """host → chain, where it is."""

    def with_endpoint(self, endpoint: Endpoint, frame: EdgeFrame) -> Self:
        """The table with this endpoint (or with its changed settings); itself if nothing changes."""
        chain = chain_of(endpoint, frame)
        if chain is None:
            return self
        host = endpoint.url.host
        usual = chain == _chain_by_frame(host, frame)
        here, there = (self.usual, self.special) if usual else (self.special, self.usual)
        if here.get(host) == chain and host not in there:
            return self
        here = {**here, host: chain}
        there = {name: other for name, other in there.items() if name != host} if host in there else there
        return type(self)(there, here) if usual else type(self)(here, there)

    def without(self, host: str) -> Self:
        """The table without a host; itself if it has none such."""
        if host not in self.special and host not in self.usual:
            return self
        return type(self)(
            {name: chain for name, chain in self.special.items() if name != host},
            {name: chain for name, chain in self.usual.items() if name != host},
        )

    def chains(self) -> Mapping[str, str]:
        """host → chain beyond the frame: the special ones, and the usual ones that a special wildcard would take."""
        wildcards = frozenset(host for host in self.special if is_wildcard(host))
        if not wildcards:
            return MappingProxyType(dict(self.special))
        covered = {host: chain for host, chain in self.usual.items() if not wildcards.isdisjoint(candidates(host))}
        return MappingProxyType({**self.special, **covered})


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
