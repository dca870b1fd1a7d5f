"""CPU time and memory of processes, as the kernel counts them."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; a tick is 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


class CpuMeter:
    """What named processes use inside of a `with`."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "CpuMeter":
        self._before = {name: cpu_seconds(pid) for name, pid in self._processes.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._processes.items()}
