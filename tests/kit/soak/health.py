"""What processes hold, looked at all the while: memory, descriptors, streams; and what their logs say."""

import asyncio
import os
import re
import statistics
import time
from collections import defaultdict
from pathlib import Path

import httpx

from kit.soak.stage import Stage

SAMPLE_SECONDS = 1.0
GROWTH_BYTES = 16 << 20
"""More than this from the first to the last third of a calm life is a leak: allocators keep no more."""
WATCHED_SECONDS = 120.0
"""Shorter lives say nothing of leaks."""
WARM_UP = 0.25
"""Share of a life in which buffers and caches fill."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMPLAINTS = re.compile(
    r"Traceback|panicked|wrong bytes|assert failure|\bcritical\b|was never retrieved|never awaited"
)


class Health:
    """Of all processes of a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._memory: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            for role, pid in self._stage.processes().items():
                try:
                    self._memory[role, pid].append((time.monotonic(), resident(pid)))
                except (OSError, IndexError):  # it has just been killed
                    continue
            await asyncio.sleep(SAMPLE_SECONDS)

    def lives(self) -> dict[str, tuple[float, float, float]]:
        """Of each process that lives: seconds, and the median of memory in the first and the last third."""
        found = {}
        for role, pid in self._stage.processes().items():
            samples = self._memory[role, pid]
            if len(samples) > 2:
                seconds = samples[-1][0] - samples[0][0]
                steady = [memory for when, memory in samples if when - samples[0][0] >= WARM_UP * seconds]
                third = max(len(steady) // 3, 1)
                found[role] = (seconds, statistics.median(steady[:third]), statistics.median(steady[-third:]))
        return found

    def leaks(self) -> list[str]:
        """Processes that grew."""
        return [
            f"{role} grew by {(last - first) / 1e6:.1f} MB in {seconds:.0f} s"
            for role, (seconds, first, last) in self.lives().items()
            if seconds >= WATCHED_SECONDS and last - first > GROWTH_BYTES
        ]

    def descriptors(self) -> dict[str, int]:
        """How many files and sockets each process has open."""
        return {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in self._stage.processes().items()}

    def complaints(self) -> list[str]:
        """Lines of logs that tell of a bug."""
        return [
            f"{log.name}: {line[:2000]}"
            for log in self._stage.logs()
            if log.exists()
            for line in log.read_text(errors="replace").splitlines()
            if _COMPLAINTS.search(line)
        ]

    def deaths(self) -> int:
        """How often a child of the edge has died."""
        return self._stage.edge.log.read_text().count("child died")

    def relay_figure(self, name: str) -> float:
        """The sum over all relays."""
        text = httpx.get(f"{self._stage.edge.admin}/metrics", trust_env=False).text
        found = re.findall(rf'^portico_relay_{name}{{relay="r\d+"}} (\S+)$', text, re.MULTILINE)
        assert found, f"no figure {name}"
        return sum(map(float, found))


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
