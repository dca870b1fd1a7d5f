"""Ours: an edge as it ships, with our own agent or the official ngrok SDK."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

from benchmarks.comparison import Named
from benchmarks.peers.tunnel import DOMAIN, Command, Contender, Forward, Server, Setting, Target, tcp_target
from kit import ngrok_sdk
from kit.cli import COMMAND
from kit.edge import RunningEdge, running_edge

CONNECT_NAME = f"connect.{DOMAIN}"
"""A name in the certificate of the edge that agents dial."""
Kind = Literal["tcp", "http", "tls", "ngrok"]
_NAMES = {
    "tcp": Named(
        "portico tcp",
        "ours",
        "`portico tcp`: Envoy, relay and our agent, TLS between edge and agent; bytes as they are.",
    ),
    "http": Named(
        "portico http",
        "ours",
        "`portico http` as it ships, its inspector on: Envoy reads requests, and ends TLS in the row that has it.",
    ),
    "tls": Named("portico tls", "ours", "`portico tls`: TLS passed through by SNI to the service."),
    "ngrok": Named("ngrok SDK", "peer", "The official ngrok Python SDK as the agent of an http endpoint on our edge."),
}


@dataclass(frozen=True)
class Portico(Contender):
    """An edge, and one kind of endpoint on it."""

    kind: Kind

    @property
    def ends_tls(self) -> bool:  # type: ignore[override]
        return self.kind in {"http", "ngrok"}

    @property
    def carries(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("secure",) if self.kind == "tls" else super().carries

    @property
    def named(self) -> Named:
        return _NAMES[self.kind]

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """A whole edge of its own."""
        public = [forward.public for forward in forwards]
        flags = [
            *("--domain", DOMAIN, "--https-addr", f"{setting.place.server_address}:0", "--log-level", "warning"),
            *("--tcp-ports", f"{min(public)}-{max(public)}", "--max-sessions", "2000", "--drain-seconds", "0"),
        ]
        with running_edge(setting.directory, *flags) as edge, _ending_with_us(edge.process.pid):
            host, port = setting.place.dial(edge.https_port, setting.place.server_address)
            if host in {"127.0.0.1", setting.place.server_address}:
                host = setting.place.server_name
            yield _Edge(self.kind, edge, setting, f"{host}:{port}")


@contextlib.contextmanager
def _ending_with_us(pid: int) -> Iterator[None]:
    """End that process even where this program is killed: its end of the pipe closes then, and the guard reads on."""
    guard = subprocess.Popen(["sh", "-c", 'read -r _; kill "$1"', "sh", str(pid)], stdin=subprocess.PIPE)
    assert guard.stdin is not None
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        guard.stdin.close()


class _Edge:
    def __init__(self, kind: Kind, edge: RunningEdge, setting: Setting, connect_url: str) -> None:
        self.pid = edge.process.pid
        self._kind = kind
        self._edge = edge
        self._setting = setting
        self._connect_url = connect_url

    def agents(self, forwards: Sequence[Forward]) -> list[Command]:
        """One `portico start`, or one SDK."""
        if self._kind == "ngrok":
            words = (ngrok_sdk.__file__, self._connect_url, str(self._edge.ca), self._edge.authtoken)
            return [Command((sys.executable, *words), stdin=sdk_lines(forwards))]
        config = self._setting.directory / "portico.yml"
        config.write_text(agent_config(self._kind, forwards))
        config.chmod(0o600)
        environment = {
            **self._edge.agent_environment,
            "PORTICO_CONNECT_URL": self._connect_url,
            "XDG_CONFIG_HOME": str(self._edge.data_dir / "no-config"),
        }
        start = ("start", "--all", "--config", str(config), "--log", "stderr", "--log-level", "warn")
        return [Command((*COMMAND, *start), environment)]

    def crowd(self, forwards: Sequence[Forward]) -> list[Command]:
        """Many sessions in one process: only the edge's side of them is measured."""
        first = {"connect_url": self._connect_url, "ca": str(self._edge.ca), "authtoken": self._edge.authtoken}
        lines = [first, *({"url": url("tcp", each), "port": each.local} for each in forwards)]
        return [Command((sys.executable, "-m", "benchmarks.peers.crowd", json.dumps(lines)))]

    def target(self, forward: Forward) -> Target:
        """By port for tcp, by host else."""
        if self._kind == "tcp":
            return tcp_target(forward)
        secure = forward.name == "secure"
        port = self._edge.https_port if secure else self._edge.http_port
        return Target("https" if secure else "http", f"{forward.name}.{DOMAIN}", port)


def url(kind: Kind, forward: Forward) -> str:
    """The public URL of a forward."""
    if kind == "tcp":
        return f"tcp://{DOMAIN}:{forward.public}"
    scheme = "tls" if kind == "tls" else "https" if forward.name == "secure" else "http"
    return f"{scheme}://{forward.name}.{DOMAIN}"


def agent_config(kind: Kind, forwards: Sequence[Forward]) -> str:
    """portico.yml."""
    endpoints = [
        {"name": each.name, "url": url(kind, each), "upstream": {"url": _upstream(kind, each)}} for each in forwards
    ]
    return yaml.safe_dump({"version": 3, "endpoints": endpoints}, sort_keys=False)


def _upstream(kind: Kind, forward: Forward) -> str:
    scheme = "http" if kind == "http" else "tcp"
    return f"{scheme}://127.0.0.1:{forward.local}"


def sdk_lines(forwards: Sequence[Forward]) -> str:
    """What `kit.ngrok_sdk` is told."""
    commands = [
        ["forward", f"http://127.0.0.1:{each.local}", {"domain": f"{each.name}.{DOMAIN}", "scheme": _scheme(each)}]
        for each in forwards
    ]
    return "".join(json.dumps(command) + "\n" for command in commands)


def _scheme(forward: Forward) -> str:
    return "HTTPS" if forward.name == "secure" else "HTTP"
