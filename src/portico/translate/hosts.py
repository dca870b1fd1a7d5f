"""The hosts of a cluster, of any kind side by side, and what is spoken to each below the endpoint's own protocol.

All are known by socket or IP: a cluster whose names Envoy looks up (STRICT_DNS) takes no Unix sockets, which it drops
without a word, and behind an internal listener a dead address would look alive to retries. Names are therefore looked
up by control.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from portico.model.balancing import USUAL, Balancing
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Address, AddressTls, Endpoint, HostPort, UnixSocket
from portico.model.names import is_ip
from portico.translate.balancing import checked_passively
from portico.translate.typed import Body, extension, pipe, socket_address

TransportSocket: TypeAlias = Callable[[Address], Body | None]
"""What is spoken to an address; None for nothing."""

_RAW: Final = extension(
    "envoy.transport_sockets.raw_buffer", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
)


def plain(address: Address) -> Body | None:
    """The endpoint's own protocol as it is."""
    return None


def proxied(address: Address) -> Body | None:
    """A PROXY v2 header first."""
    return _behind_header(_RAW)


def endpoint_socket(endpoint: Endpoint, frame: EdgeFrame) -> TransportSocket:
    """A PROXY v2 header where it is wanted, and TLS where the address speaks it."""

    def socket(address: Address) -> Body | None:
        tls = address.tls if isinstance(address, HostPort) else None
        inner = _tls(tls, endpoint, frame) if tls else None
        return _behind_header(inner or _RAW) if endpoint.tells_visitor(address) else inner

    return socket


def hosts(name: str, addresses: tuple[Address, ...], socket: TransportSocket, balancing: Balancing = USUAL) -> Body:
    """The fields of cluster `name` that say who its hosts are. Different sockets are matched to hosts by number."""
    sockets: list[Body | None] = []
    for address in addresses:
        if (spoken := socket(address)) not in sockets:
            sockets.append(spoken)
    several = len(sockets) > 1
    listed = []
    for address in addresses:
        host = _host(address, sockets.index(socket(address)) if several else None)
        if checked_passively(balancing, addresses, address):
            host["endpoint"]["health_check_config"] = {"disable_active_health_check": True}
        listed.append((address, host))
    body: Body = {"load_assignment": {"cluster_name": name, "endpoints": _localities(listed, balancing)}}
    if several:
        body["transport_socket_matches"] = [
            {"name": str(number), "match": {"socket": str(number)}, "transport_socket": spoken or _RAW}
            for number, spoken in enumerate(sockets)
        ]
    elif sockets and sockets[0]:
        body["transport_socket"] = sockets[0]
    return body


def _localities(listed: list[tuple[Address, Body]], balancing: Balancing) -> list[Body]:
    """The hosts by priority and zone; priorities without a gap, as Envoy wants them."""
    ranks = {priority: rank for rank, priority in enumerate(sorted({address.priority for address, _ in listed}))}
    weights = dict(balancing.zone_weights)
    groups: dict[tuple[int, str], Body] = {}
    for address, host in listed:
        place = ranks[address.priority], address.zone
        if place not in groups:
            rank, zone = place
            groups[place] = {
                **({"locality": {"zone": zone}} if zone else {}),
                **({"priority": rank} if rank else {}),
                **({"load_balancing_weight": weights.get(zone, 1)} if weights else {}),
                "lb_endpoints": [],
            }
        groups[place]["lb_endpoints"].append(host)
    return [groups[place] for place in sorted(groups)]


def _host(address: Address, socket: int | None) -> Body:
    where = pipe(address.path) if isinstance(address, UnixSocket) else socket_address(address.host, address.port)
    host: Body = {"endpoint": {"address": where}}
    if address.weight != 1:
        host["load_balancing_weight"] = address.weight
    if socket is not None:
        host["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"socket": str(socket)}}}
    return host


def _behind_header(inner: Body) -> Body:
    return extension(
        "envoy.transport_sockets.upstream_proxy_protocol",
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        config={"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE_ALL"}},
        transport_socket=inner,
    )


def _tls(tls: AddressTls, endpoint: Endpoint, frame: EdgeFrame) -> Body:
    """The chain and the name are verified; without `match_typed_subject_alt_names` Envoy would look at no name."""
    by_name = not is_ip(tls.server_name)
    trusted = {"inline_string": tls.authorities} if tls.authorities else {"filename": frame.system_authorities}
    subject = {"san_type": "DNS" if by_name else "IP_ADDRESS", "matcher": {"exact": tls.server_name}}
    common: Body = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "validation_context": {"trusted_ca": trusted, "match_typed_subject_alt_names": [subject]},
    }
    if endpoint.is_http:
        common["alpn_protocols"] = ["h2"] if endpoint.upstream_http == 2 else ["http/1.1"]
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context=common,
        **({"sni": tls.server_name} if by_name else {}),
    )
