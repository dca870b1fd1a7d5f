"""Everything that runs in a soak: one edge, three agents of different kinds behind hops, a service for each."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.ports import free_port_range
from kit.soak import parties
from kit.soak.parties import Hop, Program
from kit.soak.visitors import Endpoint

RELAYS = 2
AGENTS = ("cli", "sdk", "ngrok")
SEALED = "cli-sealed.localhost"
"""Of the endpoint whose TLS ends at the agent, and of the one whose TLS ends at the service."""
PASSED = "ngrok-tls.localhost"


@dataclass(frozen=True)
class Side:
    """An agent and all that is only its own."""

    name: str
    agent: Program
    hop: Hop
    service: Program


@dataclass(frozen=True)
class Stage:
    """What runs."""

    edge: RunningEdge
    sides: tuple[Side, ...]
    endpoints: tuple[Endpoint, ...]

    def of(self, side: Side) -> list[Endpoint]:
        """The endpoints of one agent."""
        return [endpoint for endpoint in self.endpoints if endpoint.agent == side.name]

    def processes(self) -> dict[str, int]:
        """Process ids by role, of everything that must not leak; without a child of the edge that is dead now."""
        edge = {}
        for name in ("envoy", "control", *(f"r{number}" for number in range(RELAYS))):
            with contextlib.suppress(LookupError):
                edge[name] = self.edge.child(name)
        agents = {f"{side.name} agent": side.agent.pid for side in self.sides}
        return {"supervisor": self.edge.process.pid, **edge, **agents}

    def logs(self) -> list[Path]:
        """Where everybody's complaints are."""
        return [
            self.edge.log,
            *(program.log for side in self.sides for program in (side.agent, side.hop, side.service)),
        ]


@contextlib.contextmanager
def running_stage(directory: Path) -> Iterator[Stage]:
    """Start it all."""
    # Of services, too: a port that connections may have at their own end is not free when a service comes again.
    first, end = free_port_range(12)
    last = first + 2
    pairs = KeyPairs(directory, "soak")
    sealed, passed = pairs.issue(SEALED), pairs.issue(PASSED)
    with contextlib.ExitStack() as stack:
        flags = ("--relays", str(RELAYS), "--tcp-ports", f"{first}-{last}", "--log-level", "info")
        edge = stack.enter_context(running_edge(directory, *flags))
        ports = {name: [*range(begin, begin + 3)] for name, begin in zip(AGENTS, range(last + 1, end, 3), strict=True)}

        def started(program: Program) -> None:
            stack.callback(program.kill)
            program.start()

        def side(name: str, agent: Callable[[int], Program]) -> Side:
            service = parties.service((*ports[name],), passed, directory / f"{name}-service.log")
            hop = parties.hop(edge, directory / f"{name}-hop.log")
            started(service)
            started(hop)
            made = Side(name, agent(hop.port), hop, service)
            started(made.agent)
            return made

        sides = (
            side("cli", lambda port: parties.cli_agent(edge, port, directory, _cli(ports["cli"], first, sealed))),
            side("sdk", lambda port: parties.sdk_agent(edge, port, directory, _sdk(ports["sdk"], first + 1))),
            side("ngrok", lambda port: parties.ngrok_agent(edge, port, directory, _ngrok(ports["ngrok"], last))),
        )
        yield Stage(edge, sides, _endpoints(edge, ports, first, pairs.ca))


def _cli(ports: list[int], tcp: int, sealed: tuple[Path, Path]) -> list[dict[str, Any]]:
    http, plain, _ = ports
    ends_at_edge = {"on_tcp_connect": [{"actions": [{"type": "terminate-tls"}]}]}
    ends_here = {"server_certificate": str(sealed[0]), "server_private_key": str(sealed[1])}
    return [
        {"name": "http", "url": "https://cli-http.localhost", "upstream": {"url": http}},
        {"name": "tcp", "url": f"tcp://localhost:{tcp}", "upstream": {"url": plain}},
        {
            "name": "tls",
            "url": "tls://cli-tls.localhost",
            "upstream": {"url": plain},
            "traffic_policy": ends_at_edge,
        },
        {"name": "sealed", "url": f"tls://{SEALED}", "upstream": {"url": plain}, "agent_tls_termination": ends_here},
    ]


def _sdk(ports: list[int], tcp: int) -> list[dict[str, Any]]:
    return [
        {"addr": ports[0], "url": "https://sdk-http.localhost"},
        {"addr": ports[1], "url": f"tcp://localhost:{tcp}"},
    ]


def _ngrok(ports: list[int], tcp: int) -> list[tuple[str, dict[str, Any]]]:
    http, plain, tls = (f"127.0.0.1:{port}" for port in ports)
    return [
        (f"http://{http}", {"domain": "ngrok-http.localhost", "heartbeat": 5}),
        (f"tcp://{plain}", {"proto": "tcp", "remote_addr": f"localhost:{tcp}"}),
        (f"tls://{tls}", {"proto": "tls", "domain": PASSED}),
    ]


def _endpoints(edge: RunningEdge, ports: dict[str, list[int]], tcp: int, authority: Path) -> tuple[Endpoint, ...]:
    of_edge, of_owner = (ssl.create_default_context(cafile=str(file)) for file in (edge.ca, authority))

    def endpoint(
        side: str, kind: str, context: ssl.SSLContext | None = of_edge, port: int = edge.https_port
    ) -> Endpoint:
        name = f"{side}-{kind}"
        protocol = kind if kind in ("http", "tcp") else "tls"
        return Endpoint(name, side, protocol, f"{name}.localhost", port, context, ports[side][0])

    return (
        endpoint("cli", "http"),
        endpoint("cli", "tcp", None, tcp),
        endpoint("cli", "tls"),
        endpoint("cli", "sealed", of_owner),
        endpoint("sdk", "http"),
        endpoint("sdk", "tcp", None, tcp + 1),
        endpoint("ngrok", "http"),
        endpoint("ngrok", "tcp", None, tcp + 2),
        endpoint("ngrok", "tls", of_owner),
    )
