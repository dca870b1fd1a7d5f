"""Endpoints in number: how fast a new one answers beside all the others, and what one at rest costs."""

import asyncio
import itertools
import time
from pathlib import Path

import uvloop

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.live import all_of, new_agent, settled_memory
from benchmarks.service import Service, own_service
from benchmarks.stage import DOMAIN, EDGE_FLAGS
from benchmarks.visit import Visit
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from portico.agent.agent import Agent
from portico.agent.bind import BindKind, BindRequest
from portico.agent.upstream import Upstream, UpstreamScheme

SESSIONS = 10
"""Sessions that the endpoints are spread over."""


class _Kind:
    """One kind of endpoint, and who visits it."""

    def __init__(self, name: str, upstream: Upstream, visit: Visit, kind: BindKind, authorities: str = "") -> None:
        self.name = name
        self._upstream = upstream
        self._visit = visit
        self._kind = kind
        self._authorities = authorities
        self._numbers = itertools.count()

    async def sample(self, agent: Agent, port: int) -> tuple[float, float]:
        """Milliseconds from asking for a new endpoint to having its URL, and to its first 200."""
        host = f"new-{self.name.replace(' ', '-')}-{next(self._numbers)}.{DOMAIN}"
        request = BindRequest(kind=self._kind, url=f"{self._kind}://{host}", visitor_authorities=self._authorities)
        began = time.perf_counter()
        endpoint = await agent.open(request, self._upstream)
        bound = time.perf_counter()
        answered = await asyncio.to_thread(self._visit.until_ok, f"https://{host}:{port}")
        await endpoint.close()
        return 1e3 * (bound - began), 1e3 * (answered - began)


def _kinds(edge: RunningEdge, plain: Service, secure: Service, authority: KeyPairs) -> list[_Kind]:
    http = Upstream(UpstreamScheme.HTTP, "127.0.0.1", plain.port)
    tls = Upstream(UpstreamScheme.TCP, "127.0.0.1", secure.port)
    with_certificate = Visit(edge.ca, key_pair=authority.issue("visitor.test"))
    return [
        _Kind("https", http, Visit(edge.ca), BindKind.HTTPS),
        _Kind("tls passed through", tls, Visit(edge.ca, authority.ca), BindKind.TLS),
        _Kind("https with client CA", http, with_certificate, BindKind.HTTPS, authority.ca.read_text()),
    ]


async def _measure(bench: Bench, edge: RunningEdge, kinds: list[_Kind], upstream: Upstream) -> list[Figure]:
    agents = [new_agent(edge) for _ in range(SESSIONS)]
    await all_of(agent.start() for agent in agents)
    before, figures, live = await settled_memory(edge), [], 0
    for count in bench.size.endpoints:
        began = time.perf_counter()
        requests = [
            BindRequest(kind=BindKind.HTTPS, url=f"https://e{number}.{DOMAIN}") for number in range(live, count)
        ]
        await all_of(agents[number % SESSIONS].open(each, upstream) for number, each in enumerate(requests))
        filled = len(requests) / (time.perf_counter() - began)
        live = count
        figures.append(Figure.of(f"binds, up to {count:,} endpoints, {SESSIONS} sessions", "binds/s", filled))
        for kind in kinds:
            samples = [await kind.sample(agents[0], edge.https_port) for _ in range(bench.size.attempts)]
            bound, answered = (tuple(column) for column in zip(*samples, strict=True))
            figures.append(Figure(f"{kind.name} beside {count:,} endpoints: bind to URL", "ms", bound))
            figures.append(Figure(f"{kind.name} beside {count:,} endpoints: bind to first 200", "ms", answered))
    after = await settled_memory(edge)
    grown = {name: (after[name] - before[name]) / live / 1e3 for name in after}
    figures.append(Figure.of("an endpoint at rest, all processes", "kB", sum(grown.values())))
    figures += [Figure.of(f"an endpoint at rest, {name}", "kB", size) for name, size in grown.items()]
    await asyncio.gather(*(agent.close() for agent in agents))
    return figures


def measure(bench: Bench) -> list[Figure]:
    """On an edge of its own."""
    directory = bench.directory()
    authority = KeyPairs(directory, "bench-authority")
    with (
        own_service() as plain,
        own_service(*_wildcard(authority)) as secure,
        running_edge(directory, *EDGE_FLAGS) as edge,
    ):
        upstream = Upstream(UpstreamScheme.HTTP, "127.0.0.1", plain.port)
        return uvloop.run(_measure(bench, edge, _kinds(edge, plain, secure, authority), upstream))


def _wildcard(authority: KeyPairs) -> tuple[Path, Path]:
    return authority.issue(f"*.{DOMAIN}")


BENCHMARK = Benchmark(
    name="endpoints",
    title="From bind to answer, and memory, by number of endpoints",
    how="Agents bring 100, 1,000 and 10,000 https endpoints online (in a quick run 100 and 1,000). Beside them, one "
    "by one, come 15 more of each kind: ended at the edge, passed through by SNI, and with TLS settings of its "
    "own (visitors must show a certificate of a given authority). Time runs from the agent's Bind to its answer, "
    "and to the end of the first 200 that a visitor with a new TLS connection gets. Memory is the growth of the "
    "edge's processes for one endpoint, at the largest number.",
    measure=measure,
    runs=1,
)
