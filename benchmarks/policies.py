"""What a traffic policy costs a request."""

import base64
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import ECKey

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure, merged
from benchmarks.processes import CpuMeter
from benchmarks.service import small_answers
from benchmarks.stage import DOMAIN, EDGE_FLAGS
from benchmarks.visit import Visit
from kit.cli import COMMAND
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually

CONNECTIONS: Final = 32
RULES: Final = (1, 10, 50)
PASSES: Final = 3
"""In a full run; each measures all policies in turn, so that what the machine does meanwhile meets all of them."""
INNER: Final = "https://inner.internal"
_RATE: Final = "requests, 32 connections"
_CPU: Final = "Envoy's CPU time for a request"
_P50: Final = "p50, 1 connection"


@dataclass(frozen=True)
class Policy:
    """One, and what visitors bring so that it lets them through."""

    name: str
    host: str
    rules: tuple[dict[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.host}.{DOMAIN}"


def rule(action: str, *expressions: str, **config: object) -> dict[str, Any]:
    return {"expressions": list(expressions), "actions": [{"type": action, "config": config}]}


def refusals(count: int) -> tuple[dict[str, Any], ...]:
    """Rules that look at path and method, as rules do, and refuse nobody who comes here."""
    return tuple(
        rule("deny", f"req.url.path.startsWith('/closed-{number}') && req.method != 'OPTIONS'")
        for number in range(count)
    )


def policies(key_set: str, token: str) -> list[Policy]:
    """All that are measured, in the order of the page."""
    basic = base64.b64encode(b"bench:a-long-password").decode()
    tokens = {
        "issuer": {"allow_list": [{"value": "bench"}]},
        "audience": {"allow_list": [{"value": "bench"}]},
        "http": {"tokens": [{"type": "jwt", "method": "header", "name": "Authorization", "prefix": "Bearer "}]},
        "jws": {"allowed_algorithms": ["ES256"], "keys": {"sources": {"additional_jkus": [key_set]}}},
    }
    limit = {"name": "all", "algorithm": "sliding_window", "capacity": 2_000_000_000, "rate": "60s"}
    return [
        Policy("none", "none"),
        *(Policy(f"{n} rule{'s' if n > 1 else ''}", f"rules-{n}", refusals(n)) for n in RULES),
        Policy("forward-internal", "forward", (rule("forward-internal", url=INNER),)),
        Policy(
            "basic-auth",
            "basic",
            (rule("basic-auth", credentials=["bench:a-long-password"]),),
            {"Authorization": f"Basic {basic}"},
        ),
        Policy("rate-limit", "limit", (rule("rate-limit", **limit, bucket_key=["conn.client_ip"]),)),
        Policy(
            "jwt-validation, known token",
            "token",
            (rule("jwt-validation", **tokens),),
            {"Authorization": f"Bearer {token}"},
        ),
    ]


@contextlib.contextmanager
def issuer() -> Iterator[tuple[str, str]]:
    """URL of a key set, and a token that one of its keys has signed."""
    key = ECKey.generate_key("P-256", {"kid": "bench"}, private=True)
    claims = {"iss": "bench", "aud": "bench", "sub": "visitor", "exp": int(time.time()) + 86_400}
    body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/keys"
        yield url, jwt.encode({"alg": "ES256", "kid": "bench"}, claims, key)
        server.shutdown()


@contextlib.contextmanager
def agent(edge: RunningEdge, directory: Path, served: list[Policy], port: int) -> Iterator[None]:
    """One agent that brings all of them online, and the internal endpoint."""
    upstream = {"url": f"http://127.0.0.1:{port}"}
    endpoints = [{"name": "inner", "url": INNER, "bindings": ["internal"], "upstream": upstream}]
    for each in served:
        policy = {"traffic_policy": {"on_http_request": list(each.rules)}} if each.rules else {}
        endpoints.append({"name": each.host, "url": each.url, "upstream": upstream, **policy})
    config = directory / "agent.yml"
    config.write_text(json.dumps({"version": 3, "endpoints": endpoints}))
    told = directory / "agent.log"
    command = [*COMMAND, "start", "--all", "--config", str(config), "--log", str(told), "--log-format", "json"]
    process = subprocess.Popen(command, env=edge.agent_environment, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: told.exists() and told.read_text().count('"endpoint online"') == len(endpoints))
        yield
    finally:
        process.kill()
        process.wait()


def measure(bench: Bench) -> list[Figure]:
    """On an edge of its own."""
    directory = bench.directory()
    with (
        issuer() as (key_set, token),
        small_answers(directory) as service,
        running_edge(directory, *EDGE_FLAGS, "--policy-networks", "127.0.0.1/32") as edge,
    ):
        served = policies(key_set, token)
        with agent(edge, directory, served, service.port):
            Visit(edge.ca).until_ok(f"{served[0].url}:{edge.http_port}/")
            passes = PASSES if bench.size.runs > 1 else 1
            runs = [_figures(edge, each, bench.size.seconds) for _ in range(passes) for each in served]
    found = merged(runs)
    return [figure for kind in (_RATE, _CPU, _P50) for figure in found if figure.name.endswith(kind)]


def _status(edge: RunningEdge, policy: Policy) -> int:
    connection = HTTPConnection("127.0.0.1", edge.http_port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": f"{policy.host}.{DOMAIN}", **policy.headers})
        return connection.getresponse().status


def _figures(edge: RunningEdge, policy: Policy, seconds: float) -> list[Figure]:
    url = f"{policy.url}:{edge.http_port}/"
    eventually(lambda: _status(edge, policy) == 200)  # the first token starts the gate
    load.requests(url, CONNECTIONS, 1, headers=policy.headers)  # each worker has compiled it, and knows the token
    with CpuMeter({"Envoy": edge.child("envoy")}) as cpu:
        many = load.requests(url, CONNECTIONS, seconds, headers=policy.headers)
    alone = load.requests(url, 1, 1, headers=policy.headers)
    return [
        Figure.of(f"{policy.name}: {_RATE}", "requests/s", many.rate),
        Figure.of(f"{policy.name}: {_CPU}", "µs", 1e6 * cpu.seconds["Envoy"] / many.requests),
        Figure.of(f"{policy.name}: {_P50}", "ms", alone.p50),
    ]


BENCHMARK = Benchmark(
    name="policies",
    title="What a traffic policy costs",
    how="Endpoints of one `portico http` agent, the same but for their policies: none; 1, 10 and 50 rules that compare "
    "path and method and refuse nobody who comes; one action that each request has to pass. "
    "wrk asks for 14 bytes over 32 plain HTTP/1.1 connections, then over one. Envoy's CPU time is its process's own; "
    "requests per second are those of the whole way, where agent, relay, service and wrk share the cores. Envoy's "
    "workers know the token, and have compiled the rules.",
    measure=measure,
    runs=1,
)
