"""CPU time and memory of processes, as the kernel counts them."""

import contextlib
import resource
import time
from collections.abc import Iterable, Mapping
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all of its threads. Raises OSError where it is gone."""
    # What clock_getcpuclockid(3) gives: /proc counts in ticks of 10 ms, this in nanoseconds.
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def family(pid: int) -> list[int]:
    """A process and all that came from it and live; empty where it is gone."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found = [pid] if Path(f"/proc/{pid}").exists() else []
    for each in found:
        found += children.get(each, [])
    return found


def proportional_bytes(pids: Iterable[int], *, own: bool = False) -> int:
    """Memory of processes together, shared pages divided by those who share them (proc(5), Pss).

    With `own` without the files that are mapped: a program's pages weigh less the more processes run it.
    """
    wanted = ("Pss_Anon:", "Pss_Shmem:") if own else ("Pss:",)
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(wanted)) * 1024
    return total


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


class RolesMeter:
    """What groups of processes use inside of a `with`, each group and, of two or more, all together."""

    def __init__(self, roles: Mapping[str, Iterable[int]]) -> None:
        self._roles = {role: list(pids) for role, pids in roles.items()}
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "RolesMeter":
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        used = {role: seconds - self._before[role] for role, seconds in self._now().items()}
        together = {" + ".join(used): sum(used.values())} if len(used) > 1 else {}
        self.seconds = {**used, **together}

    def _now(self) -> dict[str, float]:
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self._roles.items()}
