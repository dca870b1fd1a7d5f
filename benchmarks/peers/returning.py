"""How long visitors wait for an agent that starts, and for one whose link was cut."""

import contextlib
import threading
import time
from collections.abc import Sequence

from benchmarks.comparison import Record, Sample, Work, gather
from benchmarks.peers.place import CutPlace
from benchmarks.peers.stage import Ground, forwards
from benchmarks.peers.tunnel import Contender, Tunnel, tunnel
from benchmarks.peers.unit import Size
from benchmarks.visit import Visit
from kit.polling import eventually

_EVERY = 0.01
_AT_ONCE = 64
_PATIENCE = 60.0
_ROUNDS = 2

STARTING = Work(
    "starting",
    "From starting the agent to the first answer",
    "The server runs; the agent's process is started. A visitor comes every 10 ms, without waiting for the others; "
    "time runs to the end of the first 200.",
    "ms",
    "lower",
)
RETURNING = Work(
    "returning",
    "From the link's return to the first answer",
    "The agent's TCP connections are reset: once with the way free at once, once with every new connection refused for "
    "2 seconds (1 in a quick run). Visitors as above; time runs from the moment that connections pass again.",
    "ms",
    "lower",
)


class _Visitors:
    """A new one every 10 ms, until one is answered."""

    def __init__(self, url: str, authority: Visit) -> None:
        self._url = url
        self._visit = authority
        self._answered: list[float] = []
        self._room = threading.Semaphore(_AT_ONCE)

    def seconds(self, since: float, running: Tunnel) -> float:
        """From `since` to the first 200. Raises RuntimeError where the agent has ended, or none comes."""
        while not self._answered:
            if running.agent_ended():
                raise RuntimeError("its agent ends when its link does")
            if time.perf_counter() - since > _PATIENCE:
                raise RuntimeError(f"nobody is answered within {_PATIENCE:g} s")
            if self._room.acquire(timeout=_EVERY):
                threading.Thread(target=self._come, daemon=True).start()
            time.sleep(_EVERY)
        return min(self._answered) - since

    def _come(self) -> None:
        if self._visit.status(self._url, timeout=5) == 200:
            self._answered.append(time.perf_counter())
        self._room.release()


def returning(ground: Ground, contenders: Sequence[Contender], size: Size, record: Record) -> None:
    """One contender after the other, with a link of its own that can be cut."""
    place = CutPlace(contextlib.ExitStack())
    with ground.services(place) as services:
        for contender in contenders:
            some = forwards(contender, services, ("small",))
            if not some:
                continue
            with contextlib.ExitStack() as stack:
                place, name = CutPlace(stack), contender.named.name
                try:
                    made = stack.enter_context(tunnel(contender, ground.setting(place), some))
                except Exception as error:
                    record.failed[STARTING.name, name] = record.failed[RETURNING.name, name] = str(error)
                    continue
                _measure(made, place, name, Visit(ground.authority), size, record)


def _measure(made: Tunnel, place: CutPlace, name: str, visit: Visit, size: Size, record: Record) -> None:
    url = f"{made.targets['small'].url}/"

    def starting() -> list[Sample]:
        made.stop_agent()
        eventually(lambda: visit.status(url, timeout=1) != 200)
        began = time.perf_counter()
        made.start_agent()
        return [Sample(STARTING.name, "started", name, 1e3 * _Visitors(url, visit).seconds(began, made))]

    def cut() -> list[Sample]:
        began = time.perf_counter()
        place.cut()
        return [Sample(RETURNING.name, "reset", name, 1e3 * _Visitors(url, visit).seconds(began, made))]

    def away() -> list[Sample]:
        with place.away():
            time.sleep(size.away)
        began = time.perf_counter()
        return [Sample(RETURNING.name, "away for seconds", name, 1e3 * _Visitors(url, visit).seconds(began, made))]

    for _ in range(min(_ROUNDS, size.rounds)):
        for work, step in ((STARTING, starting), (RETURNING, cut), (RETURNING, away)):
            if (work.name, name) in record.failed:
                continue
            gather(record, (work.name,), name, step)
            time.sleep(0.3)


WORKS = (STARTING, RETURNING)
