"""Policies of tcp and tls endpoints: Envoy asks the gate about each connection before it dials an upstream.

Envoy's own filters for decisions (RBAC, ext_authz) wait for the visitor's first byte, while an upstream that speaks
first is dialled at once, and heard. The filter of the rate limit service asks when the connection is there, and what
comes behind it waits for the answer. What is not answered is closed. The question is gRPC; a listener of Envoy's own
makes HTTP/1.1 of it, which is what the gate speaks.

https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rate_limit_filter
"""

from collections.abc import Iterable, Mapping
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, Scheme
from portico.model.errors import NOT_SERVED, PorticoError
from portico.translate import names
from portico.translate.access_log import CONNECTION_POLICY
from portico.translate.resource import LISTENER, Resource
from portico.translate.typed import Body, extension, pipe

_FILTER: Final = "envoy.filters.network.ratelimit"
ENDPOINT: Final = "endpoint"
CERTIFICATE: Final = "conn.tls.client.pem"
"""URL-encoded."""
UNKNOWN: Final = "-"
"""What Envoy writes where it has no value."""
PATIENCE: Final = "30s"
"""How long a visitor waits for the gate, which may be starting anew. Then the connection is closed."""

_CONNECTION: Final = {
    "conn.client_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "conn.client_port": "%DOWNSTREAM_REMOTE_PORT%",
    "conn.server_ip": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    "conn.server_port": "%DOWNSTREAM_LOCAL_PORT%",
    "conn.ts.start": "%START_TIME%",
    "conn.tls.ja4_fingerprint": "%TLS_JA4_FINGERPRINT%",
    "conn.tls.sni": "%REQUESTED_SERVER_NAME%",
}
_UNTOLD: Final = ("conn.geo.", "conn.client_ip.", "conn.server_ip.", "conn.tls.server.", "conn.tls.negotiated_alpn")
"""Variables, or how their names begin, that the gate is not told."""
_BRIDGE: Final = "envoy.filters.http.grpc_http1_reverse_bridge"


def asks_gate(endpoint: Endpoint) -> bool:
    """Whether a policy decides about each connection, beyond the networks that a filter chain can tell apart."""
    return bool(endpoint.traffic_policy) and not endpoint.is_http


def refuse_what_is_untold(variables: Iterable[str], scheme: Scheme) -> None:
    """Raises PorticoError(NOT_SERVED) for a variable of requests' connections that connections of bytes have not."""
    for name in sorted(variables):
        if name.startswith(_UNTOLD):
            raise PorticoError(NOT_SERVED, f"policies of {scheme} endpoints cannot read {name}")


def gate_filters(endpoint: Endpoint, more: Mapping[str, str] | None = None) -> list[Body]:
    """What comes before the proxy of an endpoint's bytes; nothing where no policy asks for it.

    `more` are variables, and what Envoy writes for them.
    """
    if not asks_gate(endpoint):
        return []
    told = {ENDPOINT: str(endpoint.url), **_CONNECTION, **(more or {})}
    question = extension(
        _FILTER,
        "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
        stat_prefix="gate",
        domain="portico",
        descriptors=[{"entries": [{"key": key, "value": value} for key, value in told.items()]}],
        timeout=PATIENCE,
        failure_mode_deny=True,
        rate_limit_service={
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": names.CONNECTIONS_CLUSTER}},
        },
    )
    return [question, _led_elsewhere()]


def _led_elsewhere() -> Body:
    """Where the gate has named a cluster, the proxy behind this filter goes there."""
    cluster = {
        "object_key": "envoy.tcp_proxy.cluster",
        "format_string": {
            "text_format_source": {"inline_string": f"%DYNAMIC_METADATA({CONNECTION_POLICY}:cluster)%"},
            "omit_empty_values": True,
        },
        "skip_if_empty": True,
    }
    return extension(
        "envoy.filters.network.set_filter_state",
        "envoy.extensions.filters.network.set_filter_state.v3.Config",
        on_new_connection=[cluster],
    )


def questions_listener(frame: EdgeFrame) -> Resource:
    """From gRPC to HTTP/1.1, for Envoy alone (`clusters.questions_cluster`)."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": names.GATE_CLUSTER, "timeout": "0s"}}
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=names.CONNECTIONS_LISTENER,
        codec_type="HTTP2",
        generate_request_id=False,
        route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            extension(
                _BRIDGE,
                "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
                content_type="application/x-protobuf",
                withhold_grpc_frames=True,
            ),
            extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"),
        ],
    )
    body: Body = {
        "name": names.CONNECTIONS_LISTENER,
        "address": pipe(frame.connections_socket),
        "ignore_global_conn_limit": True,
        "filter_chains": [{"name": names.CONNECTIONS_LISTENER, "filters": [manager]}],
    }
    return Resource(LISTENER, names.CONNECTIONS_LISTENER, body)
