"""Every name that Envoy's resources know each other by."""

from typing import Final

from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.route import Affinity

EDGE_CERTIFICATE: Final = "edge"
"""Secret: the edge's own certificate, for D, *.D where D has a dot, connect.D, localhost, 127.0.0.1 and ::1."""

LOCAL_CERTIFICATE: Final = "edge-local"
"""Secret, where the edge's certificate is a public one: that of the own authority, for localhost and for no name."""

TICKET_KEYS: Final = "tickets"
"""Secret: the keys of session tickets (RFC 5077, RFC 8446, 4.6.1) of the constant chains."""

AGENTS_CLUSTER: Final = "agents"
API_CLUSTER: Final = "api"
GATE_CLUSTER: Final = "gate"
"""What policies ask of the world outside; the runtime knows it by this name."""
CONNECTIONS_CLUSTER: Final = "connections"
"""Where Envoy asks about connections to tcp and tls endpoints (`byte_policies.py`)."""
HTTP_CHALLENGES: Final = "acme-http"
TLS_CHALLENGES: Final = "acme-tls"
"""Clusters: control, which answers certificate authorities."""

HTTPS_LISTENER: Final = "https"
HTTP_LISTENER: Final = "http"
INTERNAL_LISTENER: Final = "internal"
CONNECTIONS_LISTENER: Final = "connections"

# Security classes: the first fragment of a scope's key. What a request had to show to enter decides, not the listener.
PUBLIC: Final = "pub"
PLAIN: Final = "plain"
INTERNAL: Final = "internal"
"""None itself: of requests from the gate, which says class and host as a policy says them that forwards."""

# Filter chains of the https listener.
EDGE_CHAIN: Final = "pub"
ON_DEMAND_CHAIN: Final = "ondemand"
TLS_CHAIN: Final = "tls"
PASS_THROUGH_CHAIN: Final = "pt"  # noqa: S105 - a chain
CONNECT_CHAIN: Final = "connect"
CHALLENGE_CHAIN: Final = "acme"
REFUSED_CHAIN: Final = "refused"

CLASS_HEADER: Final = "x-edge-class"
HOST_HEADER: Final = "x-edge-host"


def own_name(endpoint: Endpoint) -> str:
    """Name of what belongs to one endpoint alone: its cluster, its own filter chain and class, its tcp listener."""
    return str(endpoint.url)


def pool_cluster(endpoint: Endpoint, pool: str, affinity: Affinity | None = None) -> str:
    """Cluster of one of an endpoint's pools; its own one where visitors are led by `affinity`. No URL has a blank."""
    kept = f" {affinity.header or affinity.cookie}/{affinity.lifetime}" if affinity else ""
    return f"{endpoint.url} {pool}{kept}"


def behind_tls(endpoint: Endpoint) -> str:
    """Cluster: Envoy's own listener for the bytes within the TLS of one endpoint. No URL begins so."""
    return f"behind-tls {endpoint.url}"


def sni_cluster(host: str) -> str:
    """Cluster of a tls endpoint on a constant chain: Envoy finds it by the visitor's SNI, so it is the bare host."""
    return host


def host_secret(host: str) -> str:
    """Secret with the certificate of `host`: the on-demand selector asks for it by the visitor's SNI."""
    return host


def internal_class(owner: str, hop: int) -> str:
    """The class of requests that a policy of `owner` has forwarded for the `hop`th time."""
    return f"internal{hop}-{owner}"


def internal_host(url: EndpointUrl) -> str:
    """The second fragment of an internal endpoint's scopes: Envoy cuts the header that has it at the first colon."""
    return f"{url.scheme}+{url.host}+{url.port}"


def scope_name(scope_class: str, host: str) -> str:
    """Name of a scoped route configuration."""
    return f"{scope_class}/{host}"
