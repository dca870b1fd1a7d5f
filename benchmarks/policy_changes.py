"""From a change by the REST API to the first request that meets it."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Final

import uvloop

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.live import all_of, new_agent
from benchmarks.policies import refusals, rule
from benchmarks.stage import DOMAIN, EDGE_FLAGS
from kit.edge import RunningEdge, running_edge
from kit.visitor import Visitor
from portico.agent.bind import BindKind, BindRequest
from portico.agent.upstream import Upstream, UpstreamScheme

SESSIONS: Final = 10
PAUSE: Final = 0.0005
"""Seconds between a visitor's requests."""
HOST: Final = f"cloud.{DOMAIN}"


def policy(word: str, rules: int) -> str:
    """One that answers with a word, behind so many rules."""
    answer = rule("custom-response", status_code=200, body=word)
    return json.dumps({"on_http_request": [*refusals(rules), answer]})


@dataclass
class Watch:
    """A visitor on a kept connection, who asks again and again and notes when he first heard each word."""

    connection: HTTPConnection
    heard: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Ask meanwhile."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self.connection.close()

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE):
            self.connection.request("GET", "/")
            word = self.connection.getresponse().read().decode()
            self.heard.setdefault(word, time.perf_counter())


@dataclass
class Api:
    """The edge's API on a kept connection."""

    connection: HTTPConnection
    key: str

    def __call__(self, method: str, path: str, **body: object) -> Any:
        headers = {"authorization": f"Bearer {self.key}", "ngrok-version": "2", "content-type": "application/json"}
        self.connection.request(method, path, json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)


def _changes(edge: RunningEdge, attempts: int, rules: int, beside: str) -> list[Figure]:
    visitor = Visitor(edge.ca)
    key = (edge.data_dir / "api-key").read_text().strip()
    api = Api(visitor.connection(f"https://api.{DOMAIN}:{edge.https_port}"), key)
    host = f"{rules}.{HOST}"
    made = api("POST", "/endpoints", url=f"https://{host}", type="cloud", traffic_policy=policy("first", rules))
    answered, met, late = [], [], 0
    watch = Watch(visitor.connection(f"https://{host}:{edge.https_port}"))
    asker = visitor.connection(f"https://{host}:{edge.https_port}")
    with watch.on():
        for number in range(attempts):
            word = f"word-{number}"
            began = time.perf_counter()
            api("PATCH", f"/endpoints/{made['id']}", traffic_policy=policy(word, rules))
            answered.append(1e3 * (time.perf_counter() - began))
            asker.request("GET", "/")
            late += asker.getresponse().read().decode() != word
            while word not in watch.heard:
                time.sleep(PAUSE)
            met.append(1e3 * (watch.heard[word] - began))
    asker.close()
    api.connection.close()
    of = f"policy of {rules + 1} rule{'s' if rules else ''} beside {beside} endpoints"
    return [
        Figure(f"{of}: change to answer of the API", "ms", tuple(answered)),
        Figure(f"{of}: change to first request that meets it", "ms", tuple(met)),
        Figure.of(f"{of}: requests after the answer that met the old one", f"of {attempts}", late),
    ]


async def _measure(bench: Bench, edge: RunningEdge) -> list[Figure]:
    count = bench.size.endpoints[-1]
    agents = [new_agent(edge) for _ in range(SESSIONS)]
    await all_of(agent.start() for agent in agents)
    upstream = Upstream(UpstreamScheme.HTTP, "127.0.0.1", 9)  # nobody visits these
    requests = [BindRequest(kind=BindKind.HTTPS, url=f"https://e{number}.{DOMAIN}") for number in range(count)]
    await all_of(agents[number % SESSIONS].open(each, upstream) for number, each in enumerate(requests))
    figures = []
    for rules in (0, 49):
        figures += await asyncio.to_thread(_changes, edge, bench.size.attempts, rules, f"{count:,}")
    await asyncio.gather(*(agent.close() for agent in agents))
    return figures


def measure(bench: Bench) -> list[Figure]:
    """On an edge of its own."""
    with running_edge(bench.directory(), *EDGE_FLAGS) as edge:
        return uvloop.run(_measure(bench, edge))


BENCHMARK = Benchmark(
    name="policy-changes",
    title="From a change of a policy to its effect",
    how="Beside 10,000 https endpoints of agents (in a quick run 1,000) the policy of a cloud endpoint is changed by "
    "`PATCH` over the REST API, 15 times each. A visitor asks every half millisecond on a kept connection; time runs "
    "from sending the change to the API's answer, and to the end of the first response that the new policy has made. "
    "A request that another visitor sends after the API's answer must meet it.",
    measure=measure,
    runs=1,
)
