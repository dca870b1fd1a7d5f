"""The life of automatic certificates with a clock that is moved by hand, a real store, and an authority on paper."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portico.certificates.acme_issuer import Issued
from portico.certificates.acme_rules import AcmeDirectory, AcmeRules
from portico.certificates.acme_session import AcmeError
from portico.certificates.authority import Authority
from portico.certificates.automatic import AutomaticCertificates
from portico.edge.acme import StoreShelf
from portico.model.acme import AcmeCertificate, ChallengeKind
from portico.store.store import Store

START = datetime(2026, 11, 21, tzinfo=UTC)
URL = "https://ca/dir"
HOST = "a.example.org"


class Desk:
    """An authority that issues, refuses and suggests windows as it is told; and the clock."""

    def __init__(self) -> None:
        self.time = START
        self.orders: list[str] = []
        self.refusals: list[AcmeError] = []
        self.window: tuple[datetime, datetime] | None = None
        self._authority = Authority.create(START - timedelta(days=1))

    def now(self) -> datetime:
        return self.time

    async def issue(self, record: AcmeCertificate, now: datetime) -> Issued:
        self.orders.append(record.name)
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        return Issued(self._authority.issue(record.names, now)[0], URL)

    async def renewal_window(self, record: AcmeCertificate) -> tuple[tuple[datetime, datetime] | None, datetime | None]:
        return self.window, None


class Node:
    """Automatic certificates of one node."""

    def __init__(
        self, desk: Desk, shelf: StoreShelf, names_for: Callable[[str], tuple[str, ...]], per_hour: int
    ) -> None:
        rules = AcmeRules((AcmeDirectory(URL),), "", (ChallengeKind.HTTP,), (), per_hour, 60)
        self.changed: list[str] = []
        self.certificates = AutomaticCertificates(
            rules,
            shelf,
            desk,
            names_for,
            lambda record: self.changed.append(record.name),
            now=desk.now,
            chance=lambda: 0.0,
        )

    def state(self, name: str = HOST) -> str:
        return next((one.state for one in self.certificates.states() if one.name == name), "")

    async def until(self, check: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not check():
                # The clock stands, so what is due now is looked for again.
                self.certificates._wake.set()
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Until nothing is due at this time."""
        for _ in range(3):
            await asyncio.sleep(0.02)
            await self.until(lambda: not self.certificates._busy)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[StoreShelf]:
    store = Store.open(tmp_path)
    yield StoreShelf(store)
    store.close()


@asynccontextmanager
async def running(
    desk: Desk,
    shelf: StoreShelf,
    names_for: Callable[[str], tuple[str, ...]] = lambda host: (host,),
    per_hour: int = 100,
) -> AsyncIterator[Node]:
    node = Node(desk, shelf, names_for, per_hour)
    await node.certificates.load()
    work = asyncio.create_task(node.certificates.run())
    try:
        yield node
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_what_is_wanted_is_ordered_once_however_often_it_is_wanted(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as node:
        for _ in range(5):
            node.certificates.want(HOST)
        assert node.state() == "pending"
        assert node.certificates.best_for(HOST) is None
        await node.until(lambda: node.changed)
        node.certificates.want(HOST)
        await node.settled()
        assert desk.orders == [HOST]
        assert node.state() == "valid"
        assert node.certificates.best_for(HOST) is not None


async def test_a_name_that_is_not_served_is_not_ordered(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf, names_for=lambda _: ()) as node:
        node.certificates.want(HOST)
        await node.settled()
        assert desk.orders == []
        assert node.certificates.states() == []


async def test_it_is_renewed_with_a_third_of_its_life_left_unless_nobody_serves_it_any_more(
    desk: Desk, shelf: StoreShelf
) -> None:
    served = {HOST, "b.example.org"}
    async with running(desk, shelf, lambda host: (host,) if host in served else ()) as node:
        for host in served:
            node.certificates.want(host)
        await node.until(lambda: len(node.changed) == 2)
        desk.time = START + timedelta(days=59)
        await node.settled()
        assert len(desk.orders) == 2
        served.discard("b.example.org")
        desk.time = START + timedelta(days=61)
        await node.until(lambda: len(node.changed) == 3)
        await node.settled()
        assert desk.orders[2:] == [HOST]


async def test_a_failed_order_waits_and_the_certificate_that_is_there_goes_on(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.until(lambda: node.changed)
        desk.refusals = [AcmeError("the zone is broken")] * 2
        desk.time = START + timedelta(days=61)
        await node.until(lambda: node.state() == "renewing")
        await node.settled()
        state = node.certificates.states()[0]
        assert (state.last_error, state.failures) == ("the zone is broken", 1)
        assert state.next_attempt == desk.time + timedelta(seconds=60)
        assert node.certificates.best_for(HOST) is not None
        desk.time += timedelta(seconds=61)
        await node.until(lambda: len(desk.orders) == 3)
        await node.settled()  # what an order that is under way comes to is reckoned by the clock of its end
        desk.time += timedelta(seconds=121)
        await node.until(lambda: node.state() == "valid")
        assert len(desk.orders) == 4


async def test_an_expired_one_is_not_shown(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.until(lambda: node.changed)
        desk.refusals = [AcmeError("no")] * 9
        desk.time = START + timedelta(days=91)
        assert node.certificates.best_for(HOST) is None
        await node.until(lambda: node.state() == "failing")


async def test_retry_after_is_kept_over_a_restart(desk: Desk, shelf: StoreShelf) -> None:
    desk.refusals = [AcmeError("rateLimited", START + timedelta(hours=5))]
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.until(lambda: node.state() == "failing")
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        desk.time = START + timedelta(hours=4)
        await node.settled()
        assert desk.orders == [HOST]
        desk.time = START + timedelta(hours=6)
        await node.until(lambda: node.changed)


async def test_a_restart_orders_nothing(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.until(lambda: node.changed)
    async with running(desk, shelf) as node:
        assert node.changed == [HOST]
        node.certificates.want(HOST)
        await node.settled()
        assert desk.orders == [HOST]


async def test_the_authority_s_window_moves_the_renewal(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as node:
        desk.window = (START + timedelta(days=5), START + timedelta(days=6))
        node.certificates.want(HOST)
        await node.until(lambda: node.changed)
        await node.until(lambda: node.certificates.states()[0].renews_at == START + timedelta(days=5))
        desk.window = None
        desk.time = START + timedelta(days=5, seconds=1)
        await node.until(lambda: len(node.changed) == 2)


async def test_orders_beyond_the_budget_wait(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf, per_hour=3) as node:
        for number in range(8):
            node.certificates.want(f"{number}.example.org")
        await node.until(lambda: len(desk.orders) == 3)
        await node.settled()
        assert len(desk.orders) == 3
        desk.time = START + timedelta(minutes=41)
        await node.until(lambda: len(desk.orders) == 5)


async def test_exact_goes_before_wildcard_and_a_wildcard_covers_one_label(desk: Desk, shelf: StoreShelf) -> None:
    def names_for(host: str) -> tuple[str, ...]:
        return (host,) if host == HOST else ("*.example.org",)

    async with running(desk, shelf, names_for) as node:
        node.certificates.want("b.example.org")
        await node.until(lambda: node.changed)

        def shown(host: str) -> str | None:
            best = node.certificates.best_for(host)
            return best.name if best else None

        assert shown(HOST) == "*.example.org"
        node.certificates.want(HOST)
        await node.until(lambda: len(node.changed) == 2)
        assert shown(HOST) == HOST
        assert shown("b.example.org") == "*.example.org"
        assert shown("b.a.example.org") is None


async def test_of_two_nodes_one_orders_and_both_have_it(desk: Desk, shelf: StoreShelf) -> None:
    async with running(desk, shelf) as first, running(desk, shelf) as second:
        first.certificates.want(HOST)
        second.certificates.want(HOST)
        await first.until(lambda: first.changed or second.changed)
        desk.time += timedelta(seconds=5)
        await first.until(lambda: first.changed)
        await second.until(lambda: second.changed)
        assert desk.orders == [HOST]


async def test_a_node_that_died_while_ordering_holds_the_others_up_for_its_lease_only(
    desk: Desk, shelf: StoreShelf
) -> None:
    record = AcmeCertificate(HOST, (HOST,))
    assert await shelf.lease(record, "a node that died", START, START + timedelta(minutes=10))
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.settled()
        assert desk.orders == []
        desk.time = START + timedelta(minutes=11)
        await node.until(lambda: node.changed)


async def test_a_certificate_that_is_not_for_its_key_is_refused(desk: Desk, shelf: StoreShelf) -> None:
    first, _ = Authority.create(START).issue((HOST,), START)
    second, _ = Authority.create(START).issue((HOST,), START)

    async def wrong(_record: AcmeCertificate, _now: datetime) -> Issued:
        from portico.model.endpoint import KeyPair

        return Issued(KeyPair(first.certificate, second.key), URL)

    desk.issue = wrong  # type: ignore[method-assign]
    async with running(desk, shelf) as node:
        node.certificates.want(HOST)
        await node.until(lambda: node.state() == "failing")
        assert "does not match" in node.certificates.states()[0].last_error
