"""What visitors notice when a part dies or is replaced."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.service import own_service
from benchmarks.stage import DOMAIN, EDGE_FLAGS, http_agent
from benchmarks.visit import PATIENCE, Visit
from kit.edge import RunningEdge, running_edge
from kit.link_cutter import LinkCutter, link_cutter
from kit.polling import eventually

VISIT_EVERY = 0.01
QUIET_SECONDS = 1.5
"""How long everything must answer, with the new process in place, before it counts as recovered."""


@dataclass(frozen=True)
class _Seen:
    began: float
    ended: float
    status: int


class _Visitors:
    """A new one every 10 ms, whatever became of the earlier ones."""

    def __init__(self, visit: Visit, url: str) -> None:
        self.seen: list[_Seen] = []
        self._visit = visit
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._come, daemon=True)

    def __enter__(self) -> "_Visitors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def outage(self, since: float, replaced: Callable[[], bool]) -> tuple[float, int]:
        """(seconds from `since` to the first 200 after the last failure, failures), once `replaced` and quiet."""
        eventually(replaced)
        steady = time.perf_counter()
        deadline = steady + PATIENCE
        while time.perf_counter() < deadline:
            time.sleep(0.05)
            failures = [visit for visit in self.seen if visit.status != 200 and visit.ended >= since]
            last = max((visit.began for visit in failures), default=since)
            if self.seen[-1].ended > max(last, steady) + QUIET_SECONDS:
                if not failures:
                    return 0.0, 0
                first = min(visit.ended for visit in self.seen if visit.began > last and visit.status == 200)
                return first - since, len(failures)
        raise RuntimeError("visitors are not served again")

    def _come(self) -> None:
        while not self._stop.is_set():
            threading.Thread(target=self._ask, daemon=True).start()
            time.sleep(VISIT_EVERY)

    def _ask(self) -> None:
        began = time.perf_counter()
        status = self._visit.status(self._url, timeout=20)
        self.seen.append(_Seen(began, time.perf_counter(), status))


@dataclass(frozen=True)
class _Fault:
    name: str
    happen: Callable[[], None]
    child: str | None = None
    """Who gets a new process by it."""


def _faults(edge: RunningEdge, link: LinkCutter) -> list[_Fault]:
    def kill(child: str) -> Callable[[], None]:
        return lambda: os.kill(edge.child(child), signal.SIGKILL)

    return [
        _Fault("the agent's connection is cut", link.cut),
        _Fault("the relay is killed", kill("r0"), "r0"),
        _Fault("control is killed", kill("control"), "control"),
        _Fault("a new Envoy takes over", lambda: edge.process.send_signal(signal.SIGHUP), "envoy"),
        _Fault("Envoy is killed", kill("envoy"), "envoy"),
    ]


def _outage(edge: RunningEdge, visit: Visit, url: str, fault: _Fault) -> tuple[float, int]:
    eventually(lambda: visit.status(f"{edge.admin}/readyz") == 200)
    child = fault.child
    old = edge.child(child) if child else 0
    with _Visitors(visit, url) as visitors:
        time.sleep(0.2)
        began = time.perf_counter()
        fault.happen()
        return visitors.outage(began, lambda: child is None or edge.child(child) != old)


def measure(bench: Bench) -> list[Figure]:
    """Each fault once, on an edge of its own."""
    figures = []
    with (
        own_service() as service,
        running_edge(bench.directory(), *EDGE_FLAGS) as edge,
        link_cutter(edge.https_port) as link,
        http_agent(edge, f"http://survivor.{DOMAIN}", service.port, f"localhost:{link.port}"),
    ):
        visit, url = Visit(edge.ca), f"http://survivor.{DOMAIN}:{edge.http_port}"
        visit.until_ok(url)
        for fault in _faults(edge, link):
            seconds, failed = _outage(edge, visit, url, fault)
            figures.append(Figure.of(f"{fault.name}: until visitors are served again", "ms", 1e3 * seconds))
            figures.append(Figure.of(f"{fault.name}: requests that failed", "requests", failed))
    return figures


BENCHMARK = Benchmark(
    name="recovery",
    title="Faults, as visitors see them",
    how="Each 10 ms a visitor with a new connection asks through `portico http` (plain HTTP), without waiting for the"
    " others, while one part fails: the agent's TCP connection is reset, or a process is killed with SIGKILL; "
    "SIGHUP exchanges Envoy for a new one. Time runs from the fault to the first 200 after which none fails; 0 "
    "means that no request failed.",
    measure=measure,
)
