"""The faults, and when each is over."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx

from kit.soak.content import WrongBytesError
from kit.soak.journal import Fault, Journal
from kit.soak.parties import EndedError, Program
from kit.soak.stage import RELAYS, Side, Stage
from kit.soak.visitors import VISIBLE, Endpoint, carry_out, probe

RECOVERY_SECONDS = 150.0
"""ngrok's Rust SDKs wait 125 s where their third attempt fails."""
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Kind:
    """What can go wrong."""

    inflict: Callable[[], None]
    """Blocking; returns when the fault has happened, and what it ended has been started anew."""
    endpoints: frozenset[str] = frozenset()
    """Those whose transfers may fail: no others."""
    kills: bool = True
    """Whether a process of ours ends with it, whose memory nobody can watch then."""


class Faults:
    """Inflicts them and waits until everything serves."""

    def __init__(self, stage: Stage, journal: Journal) -> None:
        self._stage = stage
        self._journal = journal
        self._probes = 0
        self.deaths = 0
        """Children of the edge that were killed."""
        self.kinds = self._all()

    def names(self, *, calm: bool) -> tuple[str, ...]:
        """All of them, or those that end no process of ours."""
        return tuple(name for name, kind in self.kinds.items() if not (calm and kind.kills))

    def _all(self) -> dict[str, Kind]:
        stage = self._stage
        everything = frozenset(endpoint.name for endpoint in stage.endpoints)
        kinds = {f"relay r{number} killed": Kind(self._killed(f"r{number}"), everything) for number in range(RELAYS)}
        kinds["control killed"] = Kind(self._killed("control"))
        kinds["Envoy hot restart"] = Kind(self._hot_restart)
        for side in stage.sides:
            own = frozenset(endpoint.name for endpoint in stage.of(side))
            kinds[f"{side.name} link cut"] = Kind(_told(side, "cut"), own, kills=False)
            if side.name != "ngrok":  # that SDK never notices a link that says nothing any more
                kinds[f"{side.name} link swallows all"] = Kind(_told(side, "freeze"), own, kills=False)
            kinds[f"{side.name} link half gone"] = Kind(_told(side, "freeze_and_cut_agent_side"), own, kills=False)
            kinds[f"{side.name} service killed"] = Kind(_anew(side.service), own, kills=False)
            kinds[f"{side.name} agent killed"] = Kind(_anew(side.agent), own)
        return kinds

    async def happen(self, names: Iterable[str]) -> None:
        """Some faults at once; returns when all endpoints serve again. Raises AssertionError where they do not."""
        kinds = {name: self.kinds[name] for name in names}
        began = time.monotonic()
        faults = [Fault(name, kind.endpoints, began) for name, kind in kinds.items()]
        self._journal.faults += faults
        await asyncio.gather(*(asyncio.to_thread(kind.inflict) for kind in kinds.values()))
        await self.until_serving()
        for fault in faults:
            fault.over = time.monotonic()

    async def until_serving(self) -> None:
        """Until each endpoint answers, and the node says that it is ready."""
        await asyncio.gather(self._until_ready(), *map(self._until_answering, self._stage.endpoints))

    async def _until_answering(self, endpoint: Endpoint) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (error := await self._probe(endpoint)) is not None:
            assert time.monotonic() < deadline, f"{endpoint.name} does not come back: {error}"
            await asyncio.sleep(0.1)

    async def _probe(self, endpoint: Endpoint) -> str | None:
        self._probes += 1
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await carry_out(probe(self._probes), endpoint)
        except (*VISIBLE, WrongBytesError) as error:  # a TimeoutError is an OSError
            return repr(error)
        return None

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    if (await client.get(f"{self._stage.edge.admin}/readyz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                assert time.monotonic() < deadline, "the edge does not become ready"
                await asyncio.sleep(0.1)

    def _killed(self, child: str) -> Callable[[], None]:
        def kill() -> None:
            old = self._stage.processes()[child]
            self.deaths += 1
            os.kill(old, signal.SIGKILL)
            self._until_replaced(child, old)

        return kill

    def _hot_restart(self) -> None:
        old = self._stage.processes()["envoy"]
        self._stage.edge.process.send_signal(signal.SIGHUP)
        self._until_replaced("envoy", old)

    def _until_replaced(self, child: str, old: int) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while self._stage.processes().get(child, old) == old:
            assert time.monotonic() < deadline, f"{child} is not replaced"
            time.sleep(0.02)


def _told(side: Side, verb: str) -> Callable[[], None]:
    def tell() -> None:
        side.hop.say(verb)

    return tell


def _anew(program: Program) -> Callable[[], None]:
    def kill_and_start() -> None:
        program.kill()
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                program.start()
            except EndedError:
                # The edge does not know yet that the other has gone, or has a fault itself: who runs it tries again.
                program.kill()
                assert time.monotonic() < deadline, program.log.read_text()[-2000:]
                time.sleep(0.5)
            else:
                return

    return kill_and_start
