"""The automatic certificates of one node: wanted, ordered ahead of need, kept in the store, chosen for visitors."""

import asyncio
import heapq
import logging
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

from portico.certificates.acme_issuer import Issued
from portico.certificates.acme_rules import AcmeRules
from portico.certificates.acme_schedule import Budget, due_at, failed, is_valid, succeeded, within_window
from portico.certificates.acme_session import AcmeError
from portico.model.acme import AcmeCertificate, AutomaticState
from portico.model.errors import PorticoError
from portico.model.x509 import read_key_pair

log = logging.getLogger(__name__)

CONCURRENT_ORDERS: Final = 4
LEASE: Final = timedelta(minutes=10)
"""How long a node that orders keeps the others from the same; it survives a node that dies meanwhile."""
_OTHERS_TURN: Final = timedelta(seconds=2)
"""How often to look whether another node has what it is ordering."""
_ASK_WINDOW: Final = timedelta(hours=6)
"""How often authorities are asked for renewal windows where they do not say (RFC 9773, 4.3)."""
_ASK_APART: Final = timedelta(seconds=0.5)
"""Between the questions for the windows of two certificates, after a start."""
_IDLE: Final = 60.0


class Shelf(Protocol):
    """Where certificates are kept, for all nodes of the edge."""

    async def certificates(self) -> list[AcmeCertificate]:
        """All."""

    async def certificate(self, name: str) -> AcmeCertificate | None:
        """One."""

    async def lease(self, record: AcmeCertificate, holder: str, now: datetime, until: datetime) -> bool:
        """Whether `holder` alone may order it until then."""

    async def save(self, record: AcmeCertificate, holder: str) -> None:
        """Keep it, and end the lease."""

    async def release(self, name: str, holder: str) -> None:
        """End the lease without a change."""

    async def remove(self, name: str) -> None:
        """Forget one that nobody needs."""


class Authorities(Protocol):
    """Who issues: `acme_issuer.Issuer`."""

    async def issue(self, record: AcmeCertificate, now: datetime) -> Issued:
        """A new certificate. Raises AcmeError."""

    async def renewal_window(self, record: AcmeCertificate) -> tuple[tuple[datetime, datetime] | None, datetime | None]:
        """When to renew, and when to ask again. Raises AcmeError."""


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class AutomaticCertificates:
    """Belongs to one event loop."""

    def __init__(
        self,
        rules: AcmeRules,
        shelf: Shelf,
        authorities: Authorities,
        names_for: Callable[[str], tuple[str, ...]],
        on_change: Callable[[AcmeCertificate], None],
        *,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`names_for(host)`: the names of the certificate that is to serve `host`, none where it is not served."""
        self._rules = rules
        self._shelf = shelf
        self._authorities = authorities
        self._names_for = names_for
        self._on_change = on_change
        self._now = now
        self._chance = chance
        self._holder = uuid.uuid4().hex
        self._budget = Budget.full(rules.orders_per_hour, now())
        self._records: dict[str, AcmeCertificate] = {}
        self._by_name: dict[str, set[str]] = {}
        self._queue: list[tuple[datetime, str]] = []
        self._queued: dict[str, datetime] = {}
        self._ask_window_at: dict[str, datetime] = {}
        self._busy: dict[str, asyncio.Task[datetime | None]] = {}
        self._wake = asyncio.Event()

    # What visitors get

    def best_for(self, host: str) -> AcmeCertificate | None:
        """The valid certificate for this SNI: exact over wildcard (of one label: RFC 6125), then the longest life."""
        now = self._now()
        for name in (host, "*." + host.partition(".")[2]):
            fit = [record for known in self._by_name.get(name, ()) if is_valid(record := self._records[known], now)]
            if fit:
                return max(fit, key=lambda record: (record.not_after, record.name))
        return None

    def want(self, host: str) -> None:
        """See that `host` has a certificate, if this edge serves it. Costs next to nothing where it has."""
        names = self._names_for(host)
        if names and names[0] not in self._queued and names[0] not in self._busy:
            if names[0] not in self._records:
                self._adopt(AcmeCertificate(names[0], names))
            self._plan(names[0], self._now())

    def states(self) -> list[AutomaticState]:
        """All that are wanted or kept, by name."""
        now = self._now()
        return [_state(record, self._queued.get(name), now) for name, record in sorted(self._records.items())]

    def state(self, host: str) -> AutomaticState | None:
        """How the one that is for a name or wildcard does."""
        known = self._by_name.get(host) or self._by_name.get("*." + host.partition(".")[2])
        name = next(iter(known)) if known else None
        return _state(self._records[name], self._queued.get(name), self._now()) if name else None

    # The work

    async def load(self) -> None:
        """Take what the store has: nothing of it is ordered again."""
        moment = self._now()
        for record in await self._shelf.certificates():
            self._adopt(record)
            self._ask_window_at[record.name] = moment
            self._plan(record.name, min(moment, due_at(record, moment)) if record.pair else due_at(record, moment))
            moment += _ASK_APART

    async def run(self) -> None:
        """Order and renew until cancelled."""
        try:
            while True:
                self._wake.clear()
                self._start_due()
                wait = (self._queue[0][0] - self._now()).total_seconds() if self._queue else _IDLE
                try:
                    async with asyncio.timeout(min(max(wait, 0.05), _IDLE)):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            tasks = list(self._busy.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_due(self) -> None:
        now = self._now()
        while self._queue and self._queue[0][0] <= now and len(self._busy) < CONCURRENT_ORDERS:
            moment, name = heapq.heappop(self._queue)
            if self._queued.get(name) != moment:
                continue  # planned anew since
            del self._queued[name]
            task = asyncio.create_task(self._turn(name), name=f"acme {name}")
            self._busy[name] = task
            task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, turn: asyncio.Task[datetime | None]) -> None:
        del self._busy[name]
        if not turn.cancelled() and (again := turn.result()) is not None:
            self._plan(name, again)
        self._wake.set()

    def _plan(self, name: str, moment: datetime) -> None:
        self._queued[name] = moment
        heapq.heappush(self._queue, (moment, name))
        self._wake.set()

    async def _turn(self, name: str) -> datetime | None:
        """What is due for one certificate; the time of its next turn, unless nobody wants it any more."""
        try:
            return await self._work(name)
        except PorticoError as error:
            log.error("automatic certificates: the store failed", extra={"host": name, "reason": error.message})
        except Exception:
            log.exception("an automatic certificate's turn failed", extra={"host": name})
        return self._now() + timedelta(seconds=self._rules.retry_seconds)

    async def _work(self, name: str) -> datetime | None:
        kept = await self._shelf.certificate(name)
        if kept is not None:
            self._adopt(kept)
        record = self._records[name]
        wanted = self._names_for(name.replace("*.", "any.", 1))
        if wanted[:1] != (name,):
            if not is_valid(record, self._now()):
                self._forget(name)
                self._ask_window_at.pop(name, None)
                await self._shelf.remove(name)
            return None
        if wanted != record.names:
            record = replace(record, names=wanted, renew_at=self._now(), next_attempt=None)
        if due_at(record, self._now()) > self._now():
            return await self._next_look(record)
        return await self._order(record)

    async def _order(self, record: AcmeCertificate) -> datetime:
        now = self._now()
        if not await self._shelf.lease(record, self._holder, now, now + LEASE):
            return now + _OTHERS_TURN
        fresh = await self._shelf.certificate(record.name)
        if fresh is not None and fresh.names == record.names and due_at(fresh, now) > now:
            await self._shelf.release(record.name, self._holder)
            self._adopt(fresh)
            return due_at(fresh, now)
        later = self._budget.take(now)
        if later is not None:
            await self._shelf.release(record.name, self._holder)
            log.warning("an order waits: this edge has begun enough in an hour", extra={"host": record.name})
            return later
        try:
            done = await self._issued(record)
        except AcmeError as error:
            done = self._failure(record, error)
        except BaseException:
            await self._shelf.release(record.name, self._holder)
            raise
        await self._shelf.save(done, self._holder)
        self._adopt(done)
        self._ask_window_at.pop(done.name, None)
        return await self._next_look(done)

    async def _issued(self, record: AcmeCertificate) -> AcmeCertificate:
        began = self._now()
        issued = await self._authorities.issue(record, began)
        try:
            facts = read_key_pair(issued.pair, now=self._now(), where=issued.directory)
        except PorticoError as error:
            raise AcmeError(error.message) from None
        seconds = round((self._now() - began).total_seconds(), 1)
        told = {
            "host": record.name,
            "directory": issued.directory,
            "not_after": str(facts.not_after),
            "took_s": seconds,
        }
        log.info("has an automatic certificate", extra=told)
        return succeeded(record, issued.pair, (facts.not_before, facts.not_after), issued.directory)

    def _failure(self, record: AcmeCertificate, error: AcmeError) -> AcmeCertificate:
        done = failed(
            record,
            str(error),
            self._now(),
            first_wait=self._rules.retry_seconds,
            chance=self._chance(),
            retry_at=error.retry_at,
        )
        told = {"host": record.name, "failures": done.failures, "next_attempt": str(done.next_attempt)}
        log.error("no automatic certificate", extra={**told, "reason": done.last_error})
        return done

    async def _next_look(self, record: AcmeCertificate) -> datetime:
        """Nothing to order yet: ask for the authority's window when it is time, and say when to come again."""
        now = self._now()
        if record.pair is not None and now >= self._ask_window_at.setdefault(record.name, now):
            ask_again: datetime | None = None
            try:
                window, ask_again = await self._authorities.renewal_window(record)
                if window is not None and not _inside(record.renew_at, window):
                    record = within_window(record, window, self._chance())
                    if await self._shelf.lease(record, self._holder, now, now + LEASE):
                        await self._shelf.save(record, self._holder)
                    self._adopt(record)
            except AcmeError as error:
                log.info("no renewal window", extra={"host": record.name, "reason": str(error)})
            self._ask_window_at[record.name] = max(ask_again or now + _ASK_WINDOW, now + timedelta(minutes=1))
        due = due_at(record, now)
        return min(due, self._ask_window_at[record.name]) if record.pair is not None else due

    def _adopt(self, record: AcmeCertificate) -> None:
        old = self._forget(record.name)
        self._records[record.name] = record
        for name in record.names:
            self._by_name.setdefault(name, set()).add(record.name)
        if record.pair is not None and (old is None or old.pair != record.pair):
            self._on_change(record)

    def _forget(self, name: str) -> AcmeCertificate | None:
        record = self._records.pop(name, None)
        for covered in record.names if record else ():
            self._by_name[covered].discard(name)
            if not self._by_name[covered]:
                del self._by_name[covered]
        return record


def _inside(moment: datetime | None, window: tuple[datetime, datetime]) -> bool:
    return moment is not None and window[0] <= moment <= window[1]


def _state(record: AcmeCertificate, queued: datetime | None, now: datetime) -> AutomaticState:
    valid = is_valid(record, now)
    failing = record.failures > 0
    state = ("renewing" if failing else "valid") if valid else ("failing" if failing else "pending")
    return AutomaticState(
        record.name,
        record.names,
        state,
        record.not_after,
        record.directory,
        record.last_error,
        record.failures,
        record.next_attempt or queued,
        record.renew_at,
    )
