"""One edge node as its supervisor lays it out: what control is told at each start, in a file of the run directory."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec

from portico.atomic_file import PRIVATE, write_atomically
from portico.certificates.acme_rules import AcmeRules
from portico.edge.bind_request import BindRequest
from portico.edge.naming import Naming
from portico.edge.registry import Limits
from portico.logs import LogFormat
from portico.model.balancing import Balancing
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import EndpointUrl
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
