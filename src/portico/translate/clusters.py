"""Clusters: where an endpoint's bytes go, over one or several addresses."""

from typing import Any, Final

from portico.model.edge import ChallengeSockets, EdgeFrame
from portico.model.endpoint import Address, Endpoint, UnixSocket
from portico.translate import names
from portico.translate.hosts import TransportSocket, endpoint_socket, hosts, plain, proxied
from portico.translate.resource import CLUSTER, Resource
from portico.translate.typed import Body, typed

BUFFER_BYTES: Final = 262_144
"""What a connection holds for a slow reader. 32 KiB costs 30 % of the rate of 100 KB bodies, 1 MiB gains nothing."""

_UPSTREAM_IDLE: Final = "1s"
"""Servers close idle connections after 2 s (gunicorn) or 5 s (Node.js, uvicorn); a request that meets the close on its
way through the tunnel is lost, so the edge closes first. A new stream costs no round trip."""

_NO_LIMIT: Final = 1_000_000
"""Envoy's own limit of 1024 per cluster would be met by one busy endpoint; the relay has the limit that counts."""


def endpoint_cluster(endpoint: Endpoint, frame: EdgeFrame, name: str) -> Resource:
    """The cluster of an endpoint's addresses."""
    body = _cluster(name, endpoint.addresses, endpoint_socket(endpoint, frame))
    if endpoint.is_http:
        body["typed_extension_protocol_options"] = _http_options(endpoint.upstream_http)
    return Resource(CLUSTER, name, body)


def agents_cluster(frame: EdgeFrame) -> Resource:
    """The relays' sockets for agents; the PROXY header tells the agent's address."""
    body = _cluster(names.AGENTS_CLUSTER, tuple(map(UnixSocket, frame.agent_sockets)), proxied)
    return Resource(CLUSTER, names.AGENTS_CLUSTER, body)


def api_cluster(frame: EdgeFrame) -> Resource:
    """Control's API."""
    body = _cluster(names.API_CLUSTER, (UnixSocket(frame.api_socket),))
    body["typed_extension_protocol_options"] = _http_options(1)
    return Resource(CLUSTER, names.API_CLUSTER, body)


def challenge_clusters(sockets: ChallengeSockets) -> list[Resource]:
    """Control, for certificate authorities: their requests, and their handshakes."""
    http = _cluster(names.HTTP_CHALLENGES, (UnixSocket(sockets.http),))
    http["typed_extension_protocol_options"] = _http_options(1)
    tls = _cluster(names.TLS_CHALLENGES, (UnixSocket(sockets.tls),))
    return [Resource(CLUSTER, names.HTTP_CHALLENGES, http), Resource(CLUSTER, names.TLS_CHALLENGES, tls)]


def _cluster(name: str, addresses: tuple[Address, ...], socket: TransportSocket = plain) -> Body:
    body: Body = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        **hosts(name, addresses, socket),
        "circuit_breakers": {"thresholds": [_thresholds()]},
        # All of them cost 30 KB an endpoint, four of them 3 KB, and each is a series for every endpoint in /metrics.
        "stats_matcher": {"reject_all": True},
    }
    if len(addresses) > 1:
        body |= _pool()
    return body


def _thresholds() -> Body:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return dict.fromkeys(limits, _NO_LIMIT)


def _pool() -> Body:
    """One failed connect sets an address aside for a while; when all are aside all are tried, never none."""
    off = {
        f"enforcing_{kind}": 0 for kind in ("consecutive_5xx", "consecutive_gateway_failure", "success_rate")
    }  # a service that answers 500 is the visitor's to see, not a reason to move its load
    return {
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_local_origin_success_rate": 0,
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 100,
            "interval": "1s",
            **off,
        },
    }


def _http_options(version: int) -> Body:
    protocol: dict[str, Any] = (
        {"http2_protocol_options": {"max_concurrent_streams": 100}}
        if version == 2
        else {"http_protocol_options": {"enable_trailers": True}}
    )
    options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": _UPSTREAM_IDLE, "max_headers_count": 1000},
        explicit_http_config=protocol,
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
