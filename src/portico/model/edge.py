"""What `translate` must know of the edge node itself: the constant frame that endpoints are put into."""

from dataclasses import dataclass, field

from portico.model.endpoint import TlsVersion
from portico.model.geoip import GeoDatabases
from portico.model.limits import SharedCounts, VisitorLimits
from portico.model.observability import AccessLog, Tracing


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """A host (IP) and port that a listener binds."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ChallengeSockets:
    """Unix sockets where control answers the challenges of certificate authorities (ACME)."""

    http: str
    tls: str


@dataclass(frozen=True, slots=True)
class EdgeFrame:
    """The node's own names, addresses and sockets."""

    domain: str
    https: SocketAddress
    http: SocketAddress | None
    tcp_host: str
    """IP that tcp endpoints listen on."""
    agent_sockets: tuple[str, ...]
    """One Unix socket a relay, for the inside of agents' TLS."""
    api_socket: str
    """Unix socket where control serves `api.<domain>`."""
    mark_header: str
    """Response header, secret to this node, in which a relay names the error of its own 502 and 503 pages."""
    idle_seconds: int = 3600
    """How long a stream may be silent in both directions before it is ended; 0 for ever."""

    minimum_tls: TlsVersion = TlsVersion.TLS_1_2
    """What every visitor and agent must speak at least; an endpoint may demand more, never less."""
    challenges: ChallengeSockets | None = None
    """None where every automatic certificate is of the edge's own authority."""
    policy_script: str = ""
    """File with the Lua that runs traffic policies; empty where no endpoint may have one."""
    internal_socket: str = ""
    """Unix socket by which the gate reaches internal endpoints; empty where there is no gate."""
    gate_socket: str = ""
    """Unix socket of the gate, which asks the world outside for policies; empty where there is none."""
    connections_socket: str = ""
    """Unix socket of Envoy's own, by which it asks the gate about connections; empty where there is no gate."""
    system_authorities: str = ""
    """File with the CAs that this machine trusts, for upstreams that are reached in TLS."""
    wildcard: bool = True
    """Whether the edge's certificate covers `*.domain`, where that may be; else each name has a certificate."""
    limits: VisitorLimits = field(default_factory=VisitorLimits)
    shared_counts: SharedCounts | None = None
    """Set where nodes share a store, and count rate limits together."""
    geoip: GeoDatabases = field(default_factory=GeoDatabases)
    fingerprints: bool = False
    """Whether every handshake is fingerprinted, for policies that read it."""
    access_log: AccessLog | None = None
    tracing: Tracing | None = None
    endpoint_metrics: bool = False
    """Whether Envoy counts for each endpoint, or for some and the sum of the others."""

    @property
    def covers_names(self) -> bool:
        """Whether the edge's certificate serves all names below the domain; clients accept no `*.localhost`."""
        return self.wildcard and "." in self.domain

    @property
    def connect_host(self) -> str:
        """The name that agents dial."""
        return f"connect.{self.domain}"

    @property
    def api_host(self) -> str:
        """The name of the REST API."""
        return f"api.{self.domain}"
