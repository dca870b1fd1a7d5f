"""Filter chains of the https listener: the constant ones, and an endpoint's own."""

from typing import Any, Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import EdgeTls, Endpoint, Scheme
from portico.model.names import is_wildcard
from portico.translate import limits, names
from portico.translate.access_log import connection_lines
from portico.translate.behind_tls import told_facts
from portico.translate.byte_policies import asks_gate, gate_filters
from portico.translate.connection_manager import connection_manager
from portico.translate.resource import FILTER_CHAIN, Resource
from portico.translate.route_backends import weighted_clusters
from portico.translate.tls import (
    HANDSHAKE_TIMEOUT,
    HTTP_ALPN,
    certificate_named,
    certificate_of_visitors_name,
    edge_certificate,
    transport_socket,
)
from portico.translate.typed import Body, extension

_AUTOMATIC: Final = EdgeTls()
TLS_SCHEMES: Final = (Scheme.HTTPS, Scheme.TLS)
"""What visitors reach by SNI."""

_EARLY_BYTES: Final = 4096
"""Envoy demands a figure where the upstream is dialled late: what it may read before. A handshake ends before any."""


_SILENT_AGENT: Final = "1260s"
"""Longer than any agent is silent: relays grant ten minutes at most between two heartbeats, and ten more for answers.
They end dead ones earlier, but Envoy would keep a connection for ever that has bytes left and a peer whose kernel takes
none, and says so each time that it is asked."""


def listener_chains(frame: EdgeFrame) -> list[Body]:
    """The chains that endpoints share; they never change, for a changed chain drains all its connections.

    They are within the listener, for FCDS brings its chains a moment after the listener accepts: visitors who came
    while a new Envoy took over were refused. Nor could Envoy change a listener in place that has none.
    """
    by_sni = f"tls://%REQUESTED_SERVER_NAME%{'' if frame.https.port == 443 else f':{frame.https.port}'}"
    return [
        _http_chain(frame, names.EDGE_CHAIN, edge_certificate(frame)),
        _http_chain(frame, names.ON_DEMAND_CHAIN, certificate_of_visitors_name()),
        {
            **_tls(names.TLS_CHAIN, transport_socket(certificate_of_visitors_name(), _AUTOMATIC, frame)),
            "filters": [*_by_sni(), visitors_proxy(frame, "tls", names.TLS_CHAIN, by_sni, after_handshake=True)],
        },
        {
            "name": names.PASS_THROUGH_CHAIN,
            "filters": [*_by_sni(), visitors_proxy(frame, "tls", names.PASS_THROUGH_CHAIN, by_sni)],
        },
        {
            **_tls(
                names.CONNECT_CHAIN,
                transport_socket(edge_certificate(frame), _AUTOMATIC, frame, shared_tickets=True),
            ),
            "filters": [_tcp_proxy("connect", names.AGENTS_CLUSTER, after_handshake=True, idle_timeout=_SILENT_AGENT)],
        },
        {"name": names.REFUSED_CHAIN, "filters": [_farewell()]},
        *([_challenge_chain()] if frame.challenges else []),
    ]


def chain_of(endpoint: Endpoint, frame: EdgeFrame) -> str | None:
    """Name of the chain that an endpoint's visitors must enter by; None for schemes that know no SNI."""
    if endpoint.url.scheme not in TLS_SCHEMES:
        return None
    if _needs_own(endpoint, frame):
        return names.own_name(endpoint)
    if endpoint.tls is None:
        return names.PASS_THROUGH_CHAIN
    if endpoint.url.scheme is Scheme.TLS:
        return names.TLS_CHAIN
    return names.ON_DEMAND_CHAIN if endpoint.tls.key_pair else certificate_chain(endpoint.url.host, frame)


def certificate_chain(host: str, frame: EdgeFrame) -> str:
    """The public chain that has a certificate for `host`: the edge's own covers one label under a domain with a dot.

    OpenSSL and browsers reject `*.localhost`: RFC 6125 leaves wildcards of a top-level name to them.
    """
    label, _, parent = host.partition(".")
    covered = frame.covers_names and parent == frame.domain and label != "*"
    return names.EDGE_CHAIN if covered else names.ON_DEMAND_CHAIN


def own_chain(endpoint: Endpoint, frame: EdgeFrame) -> Resource | None:
    """The chain of an endpoint whose visitors cannot share one (delivered by FCDS), or None."""
    if not _needs_own(endpoint, frame):
        return None
    name = names.own_name(endpoint)
    if endpoint.tls is None:
        filters = [*gate_filters(endpoint), visitors_proxy(frame, "tls", name, endpoint)]
        return Resource(FILTER_CHAIN, name, {"name": name, "filters": filters})
    certificate = _own_certificate(endpoint, frame)
    if endpoint.url.scheme is Scheme.TLS:
        socket = transport_socket(certificate, endpoint.tls, frame)
        filters = [_within_tls(endpoint, frame)]
    else:
        socket = transport_socket(certificate, endpoint.tls, frame, alpn=HTTP_ALPN)
        asks = endpoint.tls.verification if endpoint.tls.client_authorities is not None else None
        filters = [connection_manager(frame, name, stat_prefix="own", own_host=endpoint.url.host, asks=asks)]
    return Resource(FILTER_CHAIN, name, {**_tls(name, socket), "filters": filters})


def _own_certificate(endpoint: Endpoint, frame: EdgeFrame) -> Body:
    """Only with the edge's certificate, which is always there, can a chain of its own resume sessions."""
    if endpoint.tls is not None and endpoint.tls.key_pair is not None:
        return certificate_named(names.host_secret(endpoint.url.host))
    if certificate_chain(endpoint.url.host, frame) == names.EDGE_CHAIN:
        return edge_certificate(frame)
    return certificate_of_visitors_name()


def _within_tls(endpoint: Endpoint, frame: EdgeFrame) -> Body:
    """Where the bytes go that are within TLS: to the upstream, or to the listener where the gate is asked."""
    if not asks_gate(endpoint):
        return visitors_proxy(frame, "tls", names.own_name(endpoint), endpoint, after_handshake=True)
    return _tcp_proxy("tls", names.behind_tls(endpoint), after_handshake=True, proxy_protocol_tlvs=told_facts())


def visitors_proxy(
    frame: EdgeFrame, stat_prefix: str, cluster: str, endpoint: Endpoint | str, *, after_handshake: bool = False
) -> Body:
    """The network filter of visitors of tls and tcp endpoints; text stands for an endpoint that is known by SNI."""
    if isinstance(endpoint, Endpoint):
        decided = asks_gate(endpoint)
        behind = decided and endpoint.tls is not None
        lines = connection_lines(frame.access_log, str(endpoint.url), decided=decided, behind_tls=behind)
    else:
        lines = connection_lines(frame.access_log, endpoint)
    own = {**({"access_log": lines} if lines else {}), **limits.of_proxied_bytes(frame.limits)}
    routed = endpoint if isinstance(endpoint, Endpoint) else None
    return _tcp_proxy(stat_prefix, cluster, routed, after_handshake=after_handshake, **own)


def _tcp_proxy(
    stat_prefix: str, cluster: str, endpoint: Endpoint | None = None, *, after_handshake: bool = False, **own: Any
) -> Body:
    """Bytes as they are, for as long as both sides want; the other attempts find another address of a pool.

    They go to `cluster`, or where the routes of `endpoint` lead.
    """
    late: Body = (
        {"upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE", "max_early_data_bytes": _EARLY_BYTES}
        if after_handshake  # no upstream is dialled for a visitor whose certificate is not verified yet
        else {}
    )
    return extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=stat_prefix,
        **(weighted_clusters(endpoint) if endpoint is not None and endpoint.routes else {"cluster": cluster}),
        max_connect_attempts=3,
        hash_policy=[{"source_ip": {}}],  # for pools that hash; no others look at it
        **late,
        **({"idle_timeout": "0s"} | own),
    )


def _needs_own(endpoint: Endpoint, frame: EdgeFrame) -> bool:
    """Rules or routes of its own; a wildcard that is not HTTP (`sni_cluster` is exact) or has its own certificate."""
    if endpoint.url.scheme not in TLS_SCHEMES:
        return False
    if endpoint.tls is not None and not endpoint.tls.fits_all(frame.minimum_tls):
        return True
    if endpoint.url.scheme is Scheme.TLS and (endpoint.routes or asks_gate(endpoint)):
        return True
    pair = endpoint.tls is not None and endpoint.tls.key_pair is not None
    return is_wildcard(endpoint.url.host) and (endpoint.url.scheme is Scheme.TLS or pair)


def _http_chain(frame: EdgeFrame, name: str, certificate: Body) -> Body:
    return {
        **_tls(name, transport_socket(certificate, _AUTOMATIC, frame, alpn=HTTP_ALPN, shared_tickets=True)),
        "filters": [connection_manager(frame, names.PUBLIC, stat_prefix=name)],
    }


def _tls(name: str, socket: Body) -> Body:
    return {"name": name, "transport_socket": socket, "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT}


def _farewell() -> Body:
    """Ends the connection without a word."""
    name = "envoy.filters.network.direct_response"
    return extension(name, "envoy.extensions.filters.network.direct_response.v3.Config")


def _challenge_chain() -> Body:
    """A certificate authority that looks (TLS-ALPN-01) meets control itself, which has the certificate to show."""
    return {"name": names.CHALLENGE_CHAIN, "filters": [_tcp_proxy("acme", names.TLS_CHALLENGES)]}


def _by_sni() -> list[Body]:
    name = "envoy.filters.network.sni_cluster"
    return [extension(name, f"envoy.extensions.{name.removeprefix('envoy.')}.v3.SniCluster")]
