"""What any door asks the registry for: one immutable value, whatever language it was asked in."""

from dataclasses import dataclass, field

from portico.model.endpoint import EdgeTls, EndpointUrl, HostPort, Networks, Scheme
from portico.model.route import Route


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """What routes lead to under one name: services that the edge reaches itself, or what serves another endpoint."""

    name: str
    upstreams: tuple[HostPort, ...] = ()
    endpoint: EndpointUrl | None = None
    upstream_http: int = 1
    """This and the next are for `upstreams`; an endpoint has its own."""
    proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class BindRequest:
    """An endpoint that a session wants to serve, before a name or a port is chosen for it."""

    scheme: Scheme | None
    """None for a labelled bind: the endpoints with these labels decide."""
    host: str | None = None
    """A name, a wildcard, one label (which then stands under the edge's domain), or None for a random name."""
    port: int | None = None
    """For tcp: the asked-for port, or None for the next free one. Otherwise the scheme's listener decides."""
    labels: dict[str, str] = field(default_factory=dict)
    tls: EdgeTls | None = None
    upstream_http: int = 1
    proxy_protocol: int = 0
    websocket_bytes: bool = False
    """Whether visitors' WebSockets are streams of bytes to the session: `BindLease.websocket_bytes`."""
    host_header: str | None = None
    networks: Networks | None = None
    pooling: bool = False
    weight: int = 1
    """Share of the pool's load beside the other members'; of `upstreams` each has its own."""
    traffic_policy: str = ""
    """As `Endpoint.traffic_policy`: JSON text of a policy that was checked."""
    options: dict[str, object] = field(default_factory=dict, repr=False)
    """An agent's other options, as they came: with a new policy (`Update`) they go on to hold."""
    cloud: bool = False
    """Whether nothing stands behind it: its traffic policy alone answers, or forwards."""
    upstreams: tuple[HostPort, ...] = ()
    """What the edge reaches itself, in place of the session's own address."""
    routes: tuple[Route, ...] = ()
    """Checked; with routes there is no address of the session's own, either."""
    pools: tuple[PoolRequest, ...] = ()
    """What `routes` lead to."""
    name: str = ""
    description: str = ""
    metadata: str = ""
    forwards_to: str = ""
    bind_id: str = ""
    """On a re-bind: the id that the agent goes on using."""
    token: str = ""
    """On a re-bind: what proves that the id is the agent's own."""

    @property
    def tells_visitor(self) -> bool:
        """Whether HTTP connections begin with a PROXY header.

        Where the upstream wants one, and where it gets bytes: no field of a request tells it then who has come.
        """
        return self.proxy_protocol > 0 or self.websocket_bytes
