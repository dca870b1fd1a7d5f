"""One edge node as its supervisor lays it out: what control is told at each start, in a file of the run directory."""

import hashlib
import math
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import msgspec

from portico.atomic_file import PRIVATE, write_atomically
from portico.certificates.acme_rules import AcmeRules
from portico.certificates.system_authorities import system_authorities
from portico.edge.bind_request import BindRequest
from portico.edge.data_dir import DataDir
from portico.edge.naming import Naming
from portico.edge.public_names import has_wildcard
from portico.edge.registry import Limits
from portico.edge.settings import EdgeSettings
from portico.logs import LogFormat
from portico.model.balancing import USUAL, Balancing
from portico.model.edge import ChallengeSockets, EdgeFrame, SocketAddress
from portico.model.endpoint import EndpointUrl
from portico.model.limits import SharedCounts
from portico.model.owner import DeclaredOwner
from portico.translate.policy.runtime_source import envoy_script, request_script

NODE_FILE: Final = "node.json"
SSH_RELAY: Final = "ssh0"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What agents may ask for, in seconds."""

    interval: tuple[float, float]
    tolerance: tuple[float, float]

    def clamp_interval(self, seconds: float) -> float:
        """The heartbeat interval that is granted."""
        return min(max(seconds, self.interval[0]), self.interval[1])

    def clamp_tolerance(self, seconds: float) -> float:
        """The heartbeat tolerance that is granted."""
        return min(max(seconds, self.tolerance[0]), self.tolerance[1])


@dataclass(frozen=True, slots=True)
class Labelled:
    """An endpoint that labelled tunnels serve."""

    url: EndpointUrl
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """Addresses with real ports, paths, limits, and what the settings file declares."""

    frame: EdgeFrame
    admin: SocketAddress
    data_dir: str
    run_dir: str
    ssh: SocketAddress | None
    relays: tuple[str, ...]
    """The relays of agents."""
    tcp_ports: tuple[int, int]
    limits: Limits
    heartbeats: Bounds
    owners: tuple[DeclaredOwner, ...]
    labelled: tuple[Labelled, ...]
    declared: tuple[BindRequest, ...]
    """Endpoints whose upstreams the edge reaches itself."""
    balancing: tuple[tuple[EndpointUrl, Balancing], ...]
    """How the load of endpoints is spread, where the settings say it."""
    log_level: str
    log_format: LogFormat
    acme: AcmeRules | None = None
    endpoint_metrics: int | None = None
    """Endpoints that may have figures of their own."""
    database: str | None = field(default=None, repr=False)
    """URL, with its password, of the PostgreSQL database that several nodes share."""
    policy_networks: tuple[str, ...] = ()
    """Networks that are not public, and that policies may reach."""

    @property
    def links(self) -> tuple[str, ...]:
        """All whose sessions control awaits: the relays of agents, and the one of SSH clients."""
        return (*self.relays, SSH_RELAY) if self.ssh else self.relays

    @property
    def naming(self) -> Naming:
        """The names and ports that this node gives."""
        first, last = self.tcp_ports
        http_port = self.frame.http.port if self.frame.http else None
        return Naming(self.frame.domain, self.frame.https.port, http_port, range(first, last + 1))

    def save(self) -> Path:
        """Write the file (mode 0600: it holds authtokens, and the database's password) and return its path."""
        path = Path(self.run_dir, NODE_FILE)
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(self))
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def write_script(run_dir: Path) -> Path:
    """Write the Lua of traffic policies for Envoy. Each version has a name of its own, for filters that run longer."""
    script = envoy_script()
    path = run_dir / f"policy-{hashlib.sha256(script.encode()).hexdigest()[:16]}.lua"
    write_atomically(path, script, mode=PRIVATE)
    write_atomically(Path(request_script(str(path))), envoy_script(responses=False), mode=PRIVATE)
    return path


def lay_out(settings: EdgeSettings, data_dir: DataDir, addresses: dict[str, SocketAddress]) -> Node:
    """The node that `settings` describe; `addresses` by flag, with port 0 resolved."""
    relays = tuple(f"r{number}" for number in range(settings.relays))
    run_dir = data_dir.run_dir
    acme = settings.acme_rules()
    frame = EdgeFrame(
        domain=settings.domain,
        https=addresses["--https-addr"],
        http=addresses.get("--http-addr"),
        tcp_host=settings.tcp_host,
        agent_sockets=tuple(str(run_dir / relay / "agents.sock") for relay in relays),
        api_socket=str(run_dir / "api.sock"),
        mark_header=f"x-portico-{secrets.token_hex(8)}",
        minimum_tls=settings.tls_min_version,
        policy_script=str(write_script(run_dir)),
        gate_socket=str(run_dir / "gate.sock"),
        internal_socket=str(run_dir / "internal.sock"),
        connections_socket=str(run_dir / "connections.sock"),
        challenges=ChallengeSockets(str(run_dir / "acme-http.sock"), str(run_dir / "acme-tls.sock")) if acme else None,
        system_authorities=system_authorities() or "",
        wildcard=acme is None or has_wildcard(acme, settings.domain),
        idle_seconds=math.ceil(settings.idle_seconds or 0),
        limits=settings.visitor_limits(),
        shared_counts=SharedCounts(settings.envoy_concurrency) if settings.database_url else None,
        geoip=settings.geoip_databases,
        fingerprints=settings.tls_fingerprints,
        access_log=settings.access_log_rules(),
        tracing=settings.tracing_rules(),
        endpoint_metrics=settings.endpoint_metrics is not None,
    )
    laid_out = Node(
        frame=frame,
        admin=addresses["--admin-addr"],
        data_dir=str(data_dir.path),
        run_dir=str(run_dir),
        ssh=addresses.get("--ssh-addr"),
        relays=relays,
        tcp_ports=(settings.tcp_ports.first, settings.tcp_ports.last),
        limits=Limits(settings.max_sessions, settings.max_endpoints),
        heartbeats=Bounds(
            (settings.heartbeat_interval_min, settings.heartbeat_interval_max),
            (settings.heartbeat_tolerance_min, settings.heartbeat_tolerance_max),
        ),
        owners=tuple(owner.declared() for owner in settings.owners),
        labelled=(),
        declared=(),
        balancing=(),
        log_level=settings.log_level,
        log_format=settings.log_format,
        acme=acme,
        endpoint_metrics=settings.endpoint_metrics,
        database=settings.database_url,
        policy_networks=settings.policy_networks,
    )
    return with_endpoints(laid_out, settings)


def with_endpoints(node: Node, settings: EdgeSettings) -> Node:
    """The same node with the endpoints that `settings` declare."""
    # The edge's own ports take the place of those that a URL does not choose.
    rules = ((one.url if one.labels else node.naming.asked_for(one.url), one.rules()) for one in settings.endpoints)
    return replace(
        node,
        labelled=tuple(Labelled(one.url, dict(one.labels)) for one in settings.endpoints if one.labels),
        declared=tuple(one.request() for one in settings.endpoints if one.is_declared),
        balancing=tuple((url, balancing) for url, balancing in rules if balancing != USUAL),
    )
