"""TLS handshakes at the edge, beside nginx and HAProxy with the same certificate, and at the agent."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import portico
from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.processes import CpuMeter
from benchmarks.stage import DOMAIN
from kit import nginx
from kit.cli import running_agent
from kit.client_certificates import SERVER, VisitorAuthority, written
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.ports import free_port_range
from kit.recorder import recording_upstream
from portico.model.endpoint import KeyPair

HOST = f"bench.{DOMAIN}"
AGENT_HOST = f"agent.{DOMAIN}"
VISITORS = 2


@dataclass(frozen=True)
class Server:
    """What is measured: where it is, which processes work for it, and what visitors trust."""

    name: str
    port: int
    host: str
    ca: Path
    processes: Mapping[str, int]
    visitor: Mapping[str, Any]
    """More options of `handshaker`."""


def measure(bench: Bench) -> list[Figure]:
    """Handshakes for a second of the server's processor time, all processes of a server together."""
    directory = bench.directory()
    with contextlib.ExitStack() as stack:
        servers = _servers(stack, directory)
        return [Figure.of(server.name, "handshakes/CPU s", _rate(server, bench.size.seconds)) for server in servers]


def _rate(server: Server, seconds: float) -> float:
    options = {"port": server.port, "host": server.host, "ca": str(server.ca), "seconds": seconds, **server.visitor}
    command = [sys.executable, "-m", "benchmarks.handshaker", json.dumps(options)]
    with CpuMeter(server.processes) as meter:
        visitors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(VISITORS)]
        counts = [int(visitor.communicate(timeout=seconds + 60)[0]) for visitor in visitors]
    return sum(counts) / sum(meter.seconds.values())


def _servers(stack: contextlib.ExitStack, directory: Path) -> list[Server]:
    owner, members = VisitorAuthority("owner"), VisitorAuthority("members")
    pair, member = owner.issue(HOST, dns=[HOST], usage=SERVER), members.issue()
    ca, visitor, both = (directory / name for name in ("owner.pem", "visitor.pem", "both.pem"))
    ca.write_text(owner.pem)
    visitor.write_text(member.certificate + member.key)
    both.write_text(pair.certificate + pair.key)
    upstream = stack.enter_context(recording_upstream())
    edge = stack.enter_context(running_edge(directory, "--domain", DOMAIN, "--envoy-concurrency", "1"))
    envoy = {"Envoy": eventually(lambda: edge.child("envoy"))}
    session = {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}

    def serve(host: str, **config: Any) -> str:
        policy = yaml.safe_dump({"on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": config}]}]})
        portico.forward(upstream.port, domain=host, traffic_policy=policy, **session)
        return host

    stack.callback(portico.kill)
    own = serve(HOST, server_certificate=pair.certificate, server_private_key=pair.key)
    plain = serve(f"app.{DOMAIN}")
    strict = serve(f"strict.{DOMAIN}", mutual_tls_certificate_authorities=[members.pem])
    agent = _agent(stack, edge, directory, owner.issue(dns=[AGENT_HOST], usage=SERVER), upstream.port)
    beside = stack.enter_context(_beside(directory, both))
    resumed = {"1.3 resumed": {"resume": True}, "1.2 resumed": {"resume": True, "version": "1.2"}}
    whole = {"1.3": {}, "1.2": {"version": "1.2"}}
    at_agent = {**envoy, "relay": edge.child("r0"), "agent": agent}
    return [
        *(Server(f"edge, {how}, own pair", edge.https_port, own, ca, envoy, flags) for how, flags in whole.items()),
        *(Server(f"edge, {how}", edge.https_port, plain, edge.ca, envoy, flags) for how, flags in resumed.items()),
        Server("edge, 1.3, the edge's certificate", edge.https_port, plain, edge.ca, envoy, {}),
        Server("edge, 1.3, mutual TLS", edge.https_port, strict, edge.ca, envoy, {"pair": str(visitor)}),
        *(
            Server(f"{name}, {how}", port, HOST, ca, {name: pid}, flags)
            for name, (port, pid) in beside.items()
            for how, flags in {**whole, **resumed}.items()
        ),
        Server("agent, 1.3 (Envoy, relay and agent together)", edge.https_port, AGENT_HOST, ca, at_agent, {}),
    ]


def _agent(stack: contextlib.ExitStack, edge: RunningEdge, directory: Path, pair: KeyPair, port: int) -> int:
    certificate, key = written(pair, directory, "agent")
    flags = ("--terminate-at", "agent", "--crt", str(certificate), "--key", str(key))
    running = stack.enter_context(running_agent(edge, "tls", str(port), "--url", f"tls://{AGENT_HOST}", *flags))
    running.url()
    return running.process.pid


@contextlib.contextmanager
def _beside(directory: Path, both: Path) -> Iterator[dict[str, tuple[int, int]]]:
    """Port and pid of nginx and HAProxy, one worker each, those that are installed; sessions are resumed by tickets."""
    ports = free_port_range(2)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    nginx_conf, haproxy_conf = directory / "nginx.conf", directory / "haproxy.cfg"
    nginx_conf.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{ports[0]} ssl backlog=4096; "
        f"ssl_certificate {both}; ssl_certificate_key {both}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; "
        'location / { return 200 "ok"; } } }\n'
    )
    haproxy_conf.write_text(
        "global\n  nbthread 1\n  maxconn 4000\n  tune.ssl.default-dh-param 2048\n"
        "defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n"
        f"frontend f\n  bind 127.0.0.1:{ports[1]} ssl crt {both} ssl-min-ver TLSv1.2\n"
        "  http-request return status 200 content-type text/plain string ok\n"
    )
    commands = {
        "nginx": [nginx.program(), "-p", str(directory), "-c", str(nginx_conf), "-e", str(directory / "nginx.log")],
        "HAProxy": [shutil.which("haproxy", path="/usr/sbin:/usr/bin"), "-db", "-f", str(haproxy_conf)],
    }
    with contextlib.ExitStack() as stack:
        found = {}
        for (name, command), port in zip(commands.items(), ports, strict=True):
            if command[0] is not None:
                process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
                stack.callback(process.wait)
                stack.callback(process.kill)
                found[name] = port, process.pid
        yield found


BENCHMARK = Benchmark(
    name="tls-handshakes",
    title="TLS handshakes",
    how=f"{VISITORS} visitors (Python) connect, shake hands and leave. A figure is the number of handshakes for one "
    "second of the server's processor time, so it does not depend on how fast visitors are. Each server has one "
    "worker, X25519 and an ECDSA P-256 certificate: `own pair`, nginx and HAProxy have the very same one. "
    "Sessions are resumed by tickets.",
    measure=measure,
)
