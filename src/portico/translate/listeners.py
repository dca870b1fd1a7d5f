"""Listeners, and what belongs to the frame of an edge rather than to any endpoint."""

from typing import Final

from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import NOBODY, Endpoint, Networks
from portico.translate import limits, names
from portico.translate.byte_policies import gate_filters, questions_listener
from portico.translate.chains import listener_chains, visitors_proxy
from portico.translate.clusters import (
    BUFFER_BYTES,
    agents_cluster,
    api_cluster,
    challenge_clusters,
    gate_cluster,
    questions_cluster,
)
from portico.translate.connection_manager import connection_manager
from portico.translate.handshake_log import failed_handshakes
from portico.translate.networks import cidr_range
from portico.translate.resource import LISTENER, Resource
from portico.translate.scopes import forwarding_scope
from portico.translate.sni import SniTable, filter_chain_matcher
from portico.translate.tracing import collector_cluster
from portico.translate.typed import ADS, Body, extension, pipe, socket_address

_HELLO_TIMEOUT: Final = "15s"
"""How long a visitor may take for the first bytes of TLS."""

_HELLO_BYTES: Final = 4096
"""Room for a visitor's first bytes: a browser's, with a key that stands against quantum computers, are about 2,000, and
Envoy makes room for longer ones. By itself it would clear 64 KiB for each visitor: 17,500 instructions."""

_KEEPALIVE: Final[Body] = {"keepalive_time": 60, "keepalive_interval": 15, "keepalive_probes": 4}
"""Visitors and agents who vanish without a word are found within two minutes."""


def frame_resources(frame: EdgeFrame) -> list[Resource]:
    """Published once, at start: the agents' and the API's clusters, the API's scope."""
    return [
        agents_cluster(frame),
        api_cluster(frame),
        *([gate_cluster(frame)] if frame.gate_socket else []),
        *([questions_cluster(frame)] if frame.connections_socket else []),
        *(challenge_clusters(frame.challenges) if frame.challenges else []),
        *([collector_cluster(frame.tracing, frame.system_authorities)] if frame.tracing else []),
        forwarding_scope(frame, names.PUBLIC, frame.api_host, names.API_CLUSTER, relayed=False),
    ]


def listener_resources(frame: EdgeFrame, table: SniTable) -> list[Resource]:
    """The listeners of the https and http ports, and of the gate's requests; only the https one depends on `table`."""
    return [
        https_listener(frame, table),
        *([http_listener(frame, frame.http)] if frame.http else []),
        *([internal_listener(frame)] if frame.internal_socket else []),
        *([questions_listener(frame)] if frame.connections_socket else []),
    ]


def https_listener(frame: EdgeFrame, table: SniTable) -> Resource:
    """The one listener for visitors and agents. Another table changes the matcher alone, and no connection notices."""
    body = {
        **_listener(frame, names.HTTPS_LISTENER, frame.https),
        "listener_filters": [
            extension(
                "envoy.filters.listener.tls_inspector",
                "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                initial_read_buffer_size=_HELLO_BYTES,
                # A setting's matter, not the first policy's: a listener that changes would end all connections.
                **({"enable_ja4_fingerprinting": True} if frame.fingerprints else {}),
            )
        ],
        "listener_filters_timeout": _HELLO_TIMEOUT,
        "filter_chain_matcher": filter_chain_matcher(table, frame),
        "filter_chains": listener_chains(frame),
        "fcds_config": {"config_source": ADS},
        "access_log": [failed_handshakes()],
    }
    return Resource(LISTENER, names.HTTPS_LISTENER, body)


def http_listener(frame: EdgeFrame, address: SocketAddress) -> Resource:
    """Requests without TLS: http endpoints, and the way to https for the others."""
    manager = connection_manager(frame, names.PLAIN, stat_prefix=names.PLAIN)
    body = {
        **_listener(frame, names.HTTP_LISTENER, address),
        "filter_chains": [{"name": names.PLAIN, "filters": [manager]}],
    }
    return Resource(LISTENER, names.HTTP_LISTENER, body)


def internal_listener(frame: EdgeFrame) -> Resource:
    """The gate's way to internal endpoints. Its socket opens the way to any, and is in the node's own directory."""
    manager = connection_manager(frame, names.INTERNAL, stat_prefix=names.INTERNAL)
    body = {
        "name": names.INTERNAL_LISTENER,
        "address": pipe(frame.internal_socket),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"name": names.INTERNAL, "filters": [manager]}],
    }
    return Resource(LISTENER, names.INTERNAL_LISTENER, body)


def tcp_listener(frame: EdgeFrame, endpoint: Endpoint) -> Resource:
    """A tcp endpoint's own port."""
    name = names.own_name(endpoint)
    filters = [*gate_filters(endpoint), visitors_proxy(frame, "tcp", name, endpoint)]
    body = {
        **_listener(frame, name, SocketAddress(frame.tcp_host, endpoint.url.port)),
        "stat_prefix": "tcp",
        "filter_chains": [{"name": "tcp", "filters": filters, **_from(endpoint.networks)}],
    }
    return Resource(LISTENER, name, body)


def _from(networks: Networks | None) -> Body:
    """Who may connect. Not a filter's matter: an upstream that speaks first would have spoken before one looks."""
    if networks is None:
        return {}
    ranges = networks.ranges() or NOBODY  # no range at all would be everybody
    return {"filter_chain_match": {"source_prefix_ranges": list(map(cidr_range, ranges))}}


def _listener(frame: EdgeFrame, name: str, address: SocketAddress) -> Body:
    return {
        "name": name,
        "address": socket_address(address.host, address.port),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "tcp_keepalive": _KEEPALIVE,
        **limits.of_listener(frame.limits),
    }
