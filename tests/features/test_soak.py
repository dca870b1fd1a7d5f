"""Everything at once, for ten minutes (`make test-soak`) or seconds: no fault changes a byte or leaves a trace."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Iterator

import pytest

from kit.polling import eventually
from kit.soak.content import WrongBytesError
from kit.soak.faults import Faults
from kit.soak.health import Health
from kit.soak.journal import Journal, Outcome
from kit.soak.plan import fault_order, wishes
from kit.soak.stage import RELAYS, Stage, running_stage
from kit.soak.visitors import VISIBLE, Endpoint, carry_out

SECONDS = float(os.environ.get("PORTICO_SOAK_SECONDS", "20"))
SEED = int(os.environ.get("PORTICO_SOAK_SEED", "1"))
VISITORS = 2
"""At each endpoint."""
PAUSE = 0.2
"""Most seconds between two transfers of a visitor: the machine is not only ours."""
TRANSFER_SECONDS = 90.0
"""No transfer lasts so long, whatever happens to it."""
STORM = 0.5
"""Share of the time with all faults; then nobody of ours is killed, and memory can be watched."""
SPARE_DESCRIPTORS = 8
"""What a process may keep open for itself: pools of threads, watchers."""

pytestmark = pytest.mark.timeout(SECONDS + 600)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_stage(tmp_path_factory.mktemp("soak")) as running:
        yield running


async def visit(seed: int, endpoint: Endpoint, journal: Journal, stop: asyncio.Event) -> None:
    """One visitor after another, until it is time."""
    chance = random.Random(seed)
    for wish in wishes(seed, endpoint.protocol):
        began, error, never_allowed = time.monotonic(), "", False
        try:
            async with asyncio.timeout(TRANSFER_SECONDS) as limit:
                await carry_out(wish, endpoint)
        except WrongBytesError as wrong:
            error, never_allowed = f"WRONG: {wrong}", True
        except VISIBLE as failure:
            error, never_allowed = f"{type(failure).__name__} {failure}"[:80], limit.expired()
        journal.outcomes.append(Outcome(wish, endpoint.name, began, time.monotonic(), error, never_allowed))
        if stop.is_set():
            return
        await asyncio.sleep(chance.uniform(0, PAUSE))


async def inflict(faults: Faults, seconds: float) -> None:
    """Faults one after another, with some quiet between them."""
    began, chance = time.monotonic(), random.Random(SEED)
    storm, calm = (fault_order(faults.names(calm=calm), SEED) for calm in (False, True))
    while (passed := time.monotonic() - began) < seconds:
        await faults.happen(next(storm if passed < STORM * seconds else calm))
        await asyncio.sleep(chance.uniform(0.2, 2.0))


async def test_no_fault_changes_a_byte_or_leaves_a_trace(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    journal, health, stop = Journal(), Health(stage), asyncio.Event()
    faults = Faults(stage, journal)
    await faults.until_serving()
    await asyncio.to_thread(eventually, lambda: health.relay_figure("streams") == 0)
    at_rest = health.descriptors()
    watching = asyncio.create_task(health.watch())
    seeds = itertools.count(SEED * 1000)
    visitors = [
        asyncio.create_task(visit(next(seeds), endpoint, journal, stop))
        for endpoint in stage.endpoints
        for _ in range(VISITORS)
    ]
    try:
        await inflict(faults, SECONDS)
    finally:
        stop.set()
        await asyncio.gather(*visitors)
        watching.cancel()
        with capsys.disabled():
            print(report(journal, health, at_rest))
    for side in stage.sides:
        await asyncio.to_thread(side.hop.say, "bury")
    assert journal.violations() == []
    assert health.leaks() == []
    await asyncio.to_thread(eventually, lambda: health.relay_figure("streams") == 0)

    def at_rest_again() -> bool:
        assert grown(at_rest, health.descriptors()) == {}
        return True

    await asyncio.to_thread(eventually, at_rest_again)
    assert health.complaints() == []
    assert health.deaths() == faults.deaths


def grown(before: dict[str, int], now: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Processes with more open than at rest; the relays are looked at together: sessions come back to any."""
    relays = {f"r{number}" for number in range(RELAYS)}
    groups = [{role} for role in now.keys() - relays] + [relays & now.keys()]
    sums = {" ".join(sorted(group)): [sum(map(of.__getitem__, group)) for of in (before, now)] for group in groups}
    spare = {" ".join(sorted(group)): SPARE_DESCRIPTORS * len(group) for group in groups}
    return {name: (then, later) for name, (then, later) in sums.items() if later > then + spare[name]}


def report(journal: Journal, health: Health, at_rest: dict[str, int]) -> str:
    """For people."""
    open_now = health.descriptors()
    memory = [
        f"{role:12} {seconds:6.0f} s {first / 1e6:8.1f} MB {last / 1e6:8.1f} MB"
        f"   descriptors {at_rest[role]} → {open_now[role]}"
        for role, (seconds, first, last) in health.lives().items()
    ]
    return "\n\n".join(("", journal.table(), journal.manners(), "\n".join(memory), "\n".join(journal.violations())))
