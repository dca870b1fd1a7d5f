"""The gate's part of rate limits that nodes count together; with workers' real Lua in front, and without."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.gate import LOOPBACK, SECRET
from kit.limited import Clock, Counts, Visit, Worker, limit
from portico.gate import limits as module
from portico.gate.answers import Lease
from portico.gate.app import gate_app
from portico.gate.limits import Limits
from portico.gate.questions import Limit
from portico.model.limits import SHARES, SharedCounts, share_of
from portico.translate.policy.together import Together

LIMIT = "ab" * 16
WORKERS = 2
"""Of each node."""


def question(capacity: int, wanted: int = 1, key: int = 0, seconds: int = 60) -> Limit:
    return Limit(limit=LIMIT, key=f"{key:064x}", capacity=capacity, seconds=seconds, wanted=wanted)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(clock: Clock) -> Counts:
    return Counts(clock)


@pytest.fixture
async def limits(counts: Counts, clock: Clock) -> AsyncIterator[Limits]:
    made = Limits(counts, clock)
    async with made.swept():
        yield made


async def test_who_asks_at_once_asks_the_database_once(limits: Limits, counts: Counts) -> None:
    leases = await asyncio.gather(*(limits.ask(question(1_000)) for _ in range(50)))
    assert [lease.granted for lease in leases] == [1] * 50
    assert counts.takes == 1


async def test_those_who_wait_share_what_comes(limits: Limits, counts: Counts) -> None:
    leases = await asyncio.gather(*(limits.ask(question(1_000, 90)) for _ in range(4)))
    assert sum(lease.granted for lease in leases) <= 200
    assert all(lease.granted >= 20 for lease in leases)


async def test_a_window_that_is_used_up_is_remembered_until_it_ends(
    limits: Limits, counts: Counts, clock: Clock
) -> None:
    assert [(await limits.ask(question(2))).granted for _ in range(3)] == [1, 1, 0]
    clock.now += 20
    asked = counts.takes
    refused = await asyncio.gather(*(limits.ask(question(2)) for _ in range(100)))
    assert set(refused) == {Lease(granted=0, seconds=40)}
    assert counts.takes == asked
    clock.now += 40
    assert (await limits.ask(question(2))).granted == 1


async def test_few_keys_are_remembered(limits: Limits, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WINDOWS", 10)
    for key in range(40):
        await limits.ask(question(1, key=key))
        assert (await limits.ask(question(1, key=0))).granted == (key == 0 and 0)
    assert len(limits._windows) == 10
    counts.away = True
    for key in range(40):
        await limits.ask(question(1, key=100 + key))
    assert len(limits._shares) == 10


async def test_keys_beyond_what_the_database_can_take_are_counted_here(
    limits: Limits, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TAKES", 3)
    held = threading.Event()
    take = counts.take

    def slow(*facts: object) -> tuple[int, float]:
        held.wait()
        return take(*facts)  # type: ignore[arg-type]

    monkeypatch.setattr(counts, "take", slow)
    asked = [asyncio.create_task(limits.ask(question(100, key=key))) for key in range(5)]
    try:
        here = await asyncio.wait_for(asyncio.gather(*asked[3:]), 60)
    finally:
        held.set()
    assert [lease.granted for lease in [*here, *await asyncio.gather(*asked[:3])]] == [1] * 5
    assert counts.takes == 3


async def test_without_the_database_a_node_has_its_share_and_says_so_once(
    limits: Limits, counts: Counts, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    assert (await limits.ask(question(40))).granted == 1
    counts.away = True
    leases = [await limits.ask(question(40, 100)) for _ in range(30)]
    assert [lease.granted for lease in leases] == [1] * 10 + [0] * 20
    assert leases[-1].seconds == 5, "the database may soon be back"
    clock.now += 30
    assert (await limits.ask(question(40))).granted == 0
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert (errors[0].code, errors[0].cause) == ("PORTICO_20048", "PORTICO_20047")  # type: ignore[attr-defined]
    counts.away = False
    async with asyncio.timeout(60):
        while "rate limits are counted together again" not in caplog.text:
            await asyncio.sleep(0.01)
    assert (await limits.ask(question(40, 3))).granted == 3
    counts.away = True
    assert (await limits.ask(question(40))).granted == 0, "the share of this window is spent"
    clock.now += 31
    assert (await limits.ask(question(40))).granted == 1


async def test_what_a_node_knows_to_be_used_up_stays_so_without_the_database(limits: Limits, counts: Counts) -> None:
    assert [(await limits.ask(question(1))).granted for _ in range(2)] == [1, 0]
    counts.away = True
    assert (await limits.ask(question(1))).granted == 0


@pytest.mark.parametrize(
    "change",
    [{"limit": "ab"}, {"key": "AB" * 32}, {"capacity": 0}, {"seconds": 0}, {"wanted": 0}, {"wanted": "1"}, {"who": 1}],
)
async def test_the_wire(tmp_path: Path, counts: Counts, change: dict[str, object]) -> None:
    edge_secrets = tmp_path / "gate.secrets"
    edge_secrets.write_text(SECRET)
    asked = {"limit": LIMIT, "key": "cd" * 32, "capacity": 2, "seconds": 60, "wanted": 1}
    for counters, statuses in ((counts, (200, 400)), (None, (404, 404))):
        app = gate_app(LOOPBACK, edge_secrets, counters=counters)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gate", trust_env=False) as client,
        ):
            good, bad = await client.post("/limits", json=asked), await client.post("/limits", json=asked | change)
            assert (good.status_code, bad.status_code) == statuses


@dataclass
class Node:
    """Envoy's workers and their gate."""

    limits: Limits
    workers: list[Worker]
    actions: list[object]
    alone: bool = False
    """Whether its workers cannot reach the gate."""


@cache
def workers() -> list[tuple[Worker, Clock]]:
    """A LuaJIT with the runtime takes a while to make; what it remembers ends with its windows."""
    clock = Clock()
    return [(Worker(clock), clock) for _ in range(2 * WORKERS)]


STEPS = st.one_of(
    st.tuples(st.just("visits"), st.integers(0, 3), st.integers(1, 12)),
    st.tuples(st.just("visits"), st.integers(0, 3), st.integers(1, 12)),
    st.tuples(st.just("time"), st.integers(1, 25), st.just(0)),
    st.tuples(st.just("database"), st.booleans(), st.just(0)),
    st.tuples(st.just("gate"), st.integers(0, 1), st.booleans()),
)


@dataclass
class World:
    """Two nodes, one database, and what has come through them."""

    capacity: int
    seconds: int
    clock: Clock
    counts: Counts = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)
    disturbed: bool = False

    async def answer(self, node: Node, visit: Visit) -> None:
        while visit.question is not None:
            if node.alone:
                visit.tell(503, b"")
                continue
            lease = await node.limits.ask(msgspec.json.decode(visit.question, type=Limit))
            visit.tell(200, msgspec.json.encode(lease))

    async def visits(self, worker: int, count: int) -> int:
        """So many at once through one worker; how many came through."""
        node = self.nodes[worker // WORKERS]
        place = worker % WORKERS
        begun = [node.workers[place].begin(node.actions[place]) for _ in range(count)]
        await asyncio.gather(*(self.answer(node, visit) for visit in begun))
        through = sum(visit.passed for visit in begun)
        self.passed += [self.clock()] * through
        return through

    async def step(self, kind: str, what: int, how: int) -> None:
        match kind:
            case "visits":
                await self.visits(what, how)
            case "time":
                self.clock.now += what
            case "database":
                self.counts.away = bool(what)
                self.disturbed |= bool(what)
                for node in self.nodes:  # the probe, whose pauses are real time
                    node.limits._away &= self.counts.away
            case "gate":
                self.nodes[what].alone = bool(how)
                self.disturbed |= bool(how)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.lists(STEPS, max_size=30))
def test_nodes_let_through_the_capacity_together(capacity: int, steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(_whatever_comes(capacity, steps))


async def _whatever_comes(capacity: int, steps: list[tuple[str, int, int]]) -> None:
    made = workers()
    clock = made[0][1]
    clock.now += 100_000
    world = World(capacity, 60, clock)
    world.counts = Counts(clock)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(2):
            own = [worker for worker, _ in made[number * WORKERS : (number + 1) * WORKERS]]
            among = Together("me https://a.test", SharedCounts(WORKERS))
            limits = Limits(world.counts, clock)
            await stack.enter_async_context(limits.swept())
            world.nodes.append(Node(limits, own, [one.action(limit(capacity), among) for one in own]))
        for kind, what, how in steps:
            await world.step(kind, what, how)
        assert_bounded(world)
        if not world.disturbed:
            await _ask_until_nobody_comes_through(world)
            ends, used = next(iter(world.counts.windows.values()))
            assert used == capacity
            assert sum(ends - world.seconds <= at < ends for at in world.passed) == capacity


async def _ask_until_nobody_comes_through(world: World) -> None:
    """In one window: whatever any worker holds comes through that worker."""
    world.clock.now += world.seconds
    while sum([await world.visits(worker, 3) for worker in range(2 * WORKERS)]):
        pass


def assert_bounded(world: World) -> None:
    """Windows begin when they begin, so in any span of one window's length there may be two of them."""
    shares = 2 * (share_of(world.capacity) + WORKERS * max(1, share_of(world.capacity) // WORKERS))
    most = world.capacity + (shares if world.disturbed else 0)
    for begin in world.passed:
        assert sum(begin <= at < begin + world.seconds for at in world.passed) <= 2 * most


def test_shares_are_a_part_of_the_capacity() -> None:
    assert [share_of(capacity) for capacity in (1, SHARES - 1, 100)] == [1, 1, 100 // SHARES]
    assert [SharedCounts(workers).of_a_worker(100) for workers in (1, 5, 64)] == [25, 5, 1]
