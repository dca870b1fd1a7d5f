"""Clusters: where an endpoint's bytes go, over one or several addresses."""

import hashlib
import json
from typing import Any, Final

from portico.model.balancing import USUAL, Balancing
from portico.model.edge import ChallengeSockets, EdgeFrame
from portico.model.endpoint import Address, Endpoint, UnixSocket
from portico.translate import names
from portico.translate.balancing import BYTES, Spoken, balanced, failure_told_by_relays, hash_policy
from portico.translate.hosts import TransportSocket, endpoint_socket, hosts, plain, proxied
from portico.translate.metrics import counted
from portico.translate.resource import CLUSTER, ENDPOINTS, Resource
from portico.translate.typed import ADS, Body, typed

BUFFER_BYTES: Final = 262_144
"""What a connection holds for a slow reader. 32 KiB costs 30 % of the rate of 100 KB bodies, 1 MiB gains nothing."""

_UPSTREAM_IDLE: Final = "1s"
"""Servers close idle connections after 2 s (gunicorn) or 5 s (Node.js, uvicorn); a request that meets the close on its
way through the tunnel is lost, so the edge closes first. A new stream costs no round trip."""


def endpoint_cluster(endpoint: Endpoint, frame: EdgeFrame, name: str) -> list[Resource]:
    """The cluster of an endpoint's addresses."""
    return address_cluster(name, endpoint.addresses, endpoint, frame)


def address_cluster(name: str, addresses: tuple[Address, ...], endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    """A cluster of some addresses that are spoken to as `endpoint` wants, and balanced by its rules.

    Where an address has a past (its health, its slow start), the addresses are a resource of their own, so that a
    change of one leaves the others' past alone.
    """
    balancing = endpoint.balancing
    body = _cluster(name, addresses, endpoint_socket(endpoint, frame), balancing, _spoken(endpoint, addresses))
    if endpoint.is_http:
        told = failure_told_by_relays(balancing, addresses, frame.mark_header)
        body["typed_extension_protocol_options"] = _http_options(
            endpoint.upstream_http,
            **({"outlier_detection": told} if told else {}),
            **({"hash_policy": policy} if (policy := hash_policy(balancing)) else {}),
        )
    body |= counted(endpoint, frame)
    if not balancing.remembers:
        return [Resource(CLUSTER, name, body)]
    assignment = body.pop("load_assignment")
    # A cluster that is replaced asks for its addresses anew, but Envoy does not ask again for a name that it asked for.
    service = f"{name}#{_digest(body)}"
    body |= {"type": "EDS", "eds_cluster_config": {"eds_config": ADS, "service_name": service}}
    return [
        Resource(CLUSTER, name, body),
        Resource(ENDPOINTS, service, {**assignment, "cluster_name": service}),
    ]


def agents_cluster(frame: EdgeFrame) -> Resource:
    """The relays' sockets for agents; the PROXY header tells the agent's address."""
    body = _cluster(names.AGENTS_CLUSTER, tuple(map(UnixSocket, frame.agent_sockets)), proxied)
    return Resource(CLUSTER, names.AGENTS_CLUSTER, body)


def own_cluster(name: str, path: str) -> Resource:
    """A listener of Envoy's own; the PROXY header tells who the visitor is."""
    return Resource(CLUSTER, name, _cluster(name, (UnixSocket(path),), proxied))


def api_cluster(frame: EdgeFrame) -> Resource:
    """Control's API."""
    body = _cluster(names.API_CLUSTER, (UnixSocket(frame.api_socket),))
    body["typed_extension_protocol_options"] = _http_options(1)
    return Resource(CLUSTER, names.API_CLUSTER, body)


def gate_cluster(frame: EdgeFrame) -> Resource:
    """The gate."""
    body = _cluster(names.GATE_CLUSTER, (UnixSocket(frame.gate_socket),))
    body["typed_extension_protocol_options"] = _http_options(1)
    return Resource(CLUSTER, names.GATE_CLUSTER, body)


def questions_cluster(frame: EdgeFrame) -> Resource:
    """Envoy's own listener that takes its questions about connections to the gate."""
    body = _cluster(names.CONNECTIONS_CLUSTER, (UnixSocket(frame.connections_socket),))
    body["typed_extension_protocol_options"] = _http_options(2)
    return Resource(CLUSTER, names.CONNECTIONS_CLUSTER, body)


def challenge_clusters(sockets: ChallengeSockets) -> list[Resource]:
    """Control, for certificate authorities: their requests, and their handshakes."""
    http = _cluster(names.HTTP_CHALLENGES, (UnixSocket(sockets.http),))
    http["typed_extension_protocol_options"] = _http_options(1)
    tls = _cluster(names.TLS_CHALLENGES, (UnixSocket(sockets.tls),))
    return [Resource(CLUSTER, names.HTTP_CHALLENGES, http), Resource(CLUSTER, names.TLS_CHALLENGES, tls)]


def _cluster(
    name: str,
    addresses: tuple[Address, ...],
    socket: TransportSocket = plain,
    balancing: Balancing = USUAL,
    spoken: Spoken = BYTES,
) -> Body:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        **hosts(name, addresses, socket, balancing),
        **balanced(balancing, addresses, spoken),
        # All of them cost 30 KB an endpoint, four of them 3 KB, and each is a series for every endpoint in /metrics.
        "stats_matcher": {"reject_all": True},
    }


def _spoken(endpoint: Endpoint, addresses: tuple[Address, ...]) -> Spoken:
    return Spoken(
        endpoint.upstream_http if endpoint.is_http else 0,
        endpoint.host_header or endpoint.url.host,
        all(endpoint.tells_visitor(address) for address in addresses),
    )


def _digest(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


def _http_options(version: int, **more: Any) -> Body:
    protocol: dict[str, Any] = (
        {"http2_protocol_options": {"max_concurrent_streams": 100}}
        if version == 2
        else {"http_protocol_options": {"enable_trailers": True}}
    )
    options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": _UPSTREAM_IDLE, "max_headers_count": 1000},
        explicit_http_config=protocol,
        **more,
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
