"""What the traffic benchmarks share: an edge, services, and agents that carry them, each a process of its own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.service import Service, own_service, small_answers
from benchmarks.visit import Visit
from kit import ngrok_sdk
from kit.cli import COMMAND
from kit.edge import RunningEdge, running_edge

DOMAIN = "edge.test"
EDGE_FLAGS = ("--domain", DOMAIN, "--max-sessions", "2000", "--log-level", "warning")


@dataclass(frozen=True)
class Way:
    """How visitors reach the service: with no tunnel, or through one agent."""

    name: str
    http: str
    """Base URLs, with ports: of small answers, and of the service that gives and takes bytes without an end."""
    bulk: str
    https: str = ""
    http_agent: int = 0
    """Process ids of the agents behind `http` and `bulk`; 0 where there is none."""
    bulk_agent: int = 0


@dataclass(frozen=True)
class Stage:
    """Everything that runs."""

    edge: RunningEdge
    service: Service
    direct: Way
    portico: Way
    ngrok: Way

    @property
    def ways(self) -> tuple[Way, ...]:
        """All of them; measured in turn."""
        return self.direct, self.portico, self.ngrok

    def processes(self, agent: int) -> dict[str, int]:
        """Whose CPU time the tunnel costs while bytes move, by name; none where there is no tunnel."""
        if not agent:
            return {}
        return {"Envoy": self.edge.child("envoy"), "relay": self.edge.child("r0"), "agent": agent}


@contextlib.contextmanager
def http_agent(edge: RunningEdge, url: str, port: int, connect_url: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`portico http` as people start it, returned at once."""
    command = [*COMMAND, "http", str(port), "--url", url, "--log", "false"]
    environment = {**edge.agent_environment, "XDG_CONFIG_HOME": str(edge.data_dir / "no-config")}
    if connect_url:
        environment["PORTICO_CONNECT_URL"] = connect_url
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def ngrok_agent(edge: RunningEdge, upstreams: dict[str, int]) -> Iterator[int]:
    """The official SDK in a process; `upstreams` maps public URLs to local ports. Yields its pid."""
    command = [sys.executable, ngrok_sdk.__file__, edge.connect_url, str(edge.ca), edge.authtoken]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for url, port in upstreams.items():
            parts = urlsplit(url)
            options = {"domain": parts.hostname, "scheme": parts.scheme.upper()}
            process.stdin.write(json.dumps(["forward", f"http://127.0.0.1:{port}", options]) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise RuntimeError(f"ngrok's SDK: {answer['error']}")
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def running_stage(directory: Path) -> Iterator[Stage]:
    """Start everything and wait until each URL answers."""
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(small_answers(directory))
        bulk = stack.enter_context(own_service())
        edge = stack.enter_context(running_edge(directory, *EDGE_FLAGS))
        http, https = edge.http_port, edge.https_port
        plain, secure, large = f"http://plain.{DOMAIN}", f"https://app.{DOMAIN}", f"https://bulk.{DOMAIN}"
        agents = [
            stack.enter_context(http_agent(edge, url, port)).pid
            for url, port in ((plain, service.port), (large, bulk.port), (secure, service.port))
        ]
        sdk_plain, sdk_large = f"http://ngrok.{DOMAIN}", f"https://ngrok-bulk.{DOMAIN}"
        sdk = stack.enter_context(ngrok_agent(edge, {sdk_plain: service.port, sdk_large: bulk.port}))
        stage = Stage(
            edge,
            service,
            Way("no tunnel", f"http://{DOMAIN}:{service.port}", f"http://{DOMAIN}:{bulk.port}"),
            Way("portico http", f"{plain}:{http}", f"{large}:{https}", f"{secure}:{https}", agents[0], agents[1]),
            Way("ngrok SDK", f"{sdk_plain}:{http}", f"{sdk_large}:{https}", "", sdk, sdk),
        )
        visit = Visit(edge.ca)
        for url in (stage.portico.http, stage.portico.https, stage.portico.bulk, stage.ngrok.http, stage.ngrok.bulk):
            visit.until_ok(url)
        yield stage
