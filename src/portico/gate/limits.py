"""Rate limits that nodes count together: the gate leases requests of a window from the shared counts, for its workers.

A window of a key begins with its first request, by the database's clock, and has `capacity` requests. Who asks is
given as many at once as he has had before in this window, and never more than a tenth of what is left: so few ask, and
what a node holds and does not need is little. What the database has given is gone there, so nodes can never let
through more than `capacity` together.

While the database cannot be reached each node has a share of its own of each window (`model.limits.share_of`).
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from portico.gate.answers import Lease
from portico.gate.questions import Limit
from portico.model.errors import LIMITS_APART, PorticoError
from portico.model.limits import share_of

log = logging.getLogger(__name__)

MOST_WINDOWS: Final = 50_000
"""Remembered here; the one that was asked for longest ago goes first, and what was leased of it is lost."""
THREADS: Final = 4
"""Questions to the database at once."""
MOST_TAKES: Final = 256
"""Keys that wait for the database at once; the next ones are counted here, as if it were away."""
AGAIN_SECONDS: Final = 5.0
"""How long a refusal holds at most that the database knows nothing of: it may soon be back."""
PROBE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 60.0
_F = TypeVar("_F")
_K = TypeVar("_K")


class Counters(Protocol):
    """The shared counts. Both methods block, and raise PorticoError where the database does not answer."""

    def take(self, limit: str, key: str, capacity: int, seconds: int, wanted: int) -> tuple[int, float]:
        """How many requests of the present window the asker has now, none where it is used up; and its seconds left."""

    def sweep(self) -> int:
        """Remove windows that have ended; how many. It is the probe, too, of a database that was away."""


@dataclass(slots=True)
class _Window:
    """What this node knows of one key's window."""

    till: float = 0.0
    held: int = 0
    """Leased, and not handed out yet."""
    used_up: bool = False
    waiting: int = 0
    """Who waits for the lease that is being taken."""
    wanted: int = 0
    """What they want together."""
    take: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class _Share:
    """What this node has let through of one key by itself."""

    till: float
    used: int = 0


class Limits:
    """Answers the workers' questions."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds that only ever grow."""
        self._counters = counters
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="counters")
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._takes = 0
        self._away = False
        self._probing: asyncio.Task[None] | None = None

    async def ask(self, question: Limit) -> Lease:
        """Requests for one worker."""
        window = _kept(self._windows, question.limit + question.key, _Window)
        while True:
            now = self._clock()
            if window.till > now and (window.held or window.used_up):
                return _granted(window, question.wanted, now)
            if self._away or (window.take is None and self._takes >= MOST_TAKES):
                return self._own_share(question, now)
            await self._wait(window, question)

    @contextlib.asynccontextmanager
    async def swept(self) -> AsyncIterator[None]:
        """Meanwhile, what has ended is removed from the database from time to time. Afterwards nothing is asked."""
        sweeping = asyncio.create_task(self._sweep_on())
        try:
            yield
        finally:
            sweeping.cancel()
            if self._probing is not None:
                self._probing.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - so that nodes take turns
            if not self._away:
                with contextlib.suppress(PorticoError):  # the next question finds out
                    await self._in_thread(self._counters.sweep)

    async def _wait(self, window: _Window, question: Limit) -> None:
        """Until a lease was taken, which all who ask for the same key wait for together."""
        window.waiting += 1
        window.wanted += question.wanted
        try:
            if window.take is None:
                self._takes += 1
                window.take = asyncio.create_task(self._take(window, question))
            await asyncio.shield(window.take)
        finally:
            window.waiting -= 1
            window.wanted -= question.wanted

    async def _take(self, window: _Window, question: Limit) -> None:
        asked = self._clock()
        facts = (question.limit, question.key, question.capacity, question.seconds, max(window.wanted, 1))
        try:
            granted, seconds = await self._in_thread(self._counters.take, *facts)
        except PorticoError as error:
            self._go_apart(error)
            return
        finally:
            self._takes -= 1
            window.take = None
        # Counted from before the question: here the window ends no later than there.
        window.till, window.held, window.used_up = asked + seconds, granted, granted == 0

    async def _in_thread(self, work: Callable[..., _F], *facts: str | int) -> _F:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *facts)

    def _own_share(self, question: Limit, now: float) -> Lease:
        def begun() -> _Share:
            return _Share(now + question.seconds)

        share = _kept(self._shares, question.limit + question.key, begun)
        if share.till <= now:
            share.till, share.used = now + question.seconds, 0
        left = share.till - now
        if share.used >= share_of(question.capacity):
            return Lease(granted=0, seconds=min(left, AGAIN_SECONDS))
        share.used += 1
        return Lease(granted=1, seconds=left)

    def _go_apart(self, error: PorticoError) -> None:
        if self._away:
            return
        self._away = True
        facts = {"code": str(LIMITS_APART), "reason": error.message, "cause": str(error.code), "fix": LIMITS_APART.fix}
        log.error(LIMITS_APART.title, extra=facts)
        self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        """Ask from time to time whether the database is there, so that no visitor has to wait for the answer."""
        while self._away:
            await asyncio.sleep(PROBE_SECONDS)
            with contextlib.suppress(PorticoError):
                await self._in_thread(self._counters.sweep)
                self._away = False
        log.info("rate limits are counted together again")


def _granted(window: _Window, wanted: int, now: float) -> Lease:
    """A fair part of what is held: those who wait come next."""
    granted = min(wanted, max(1, window.held // (window.waiting + 1))) if window.held else 0
    window.held -= granted
    return Lease(granted=granted, seconds=window.till - now)


def _kept(kept: OrderedDict[str, _K], name: str, begin: Callable[[], _K]) -> _K:
    """What is known of a name, or what begins; the name that was asked for longest ago is forgotten."""
    found = kept.get(name)
    if found is None:
        found = kept[name] = begin()
        if len(kept) > MOST_WINDOWS:
            kept.popitem(last=False)
    else:
        kept.move_to_end(name)
    return found
