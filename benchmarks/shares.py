"""Where the processor's time goes while bytes pass: kernel, interpreter, TLS and so on, for each process.

    python -m benchmarks.shares

`perf` samples Envoy, relay and agent of `portico http` under load; a line for each, in percent of its own time, with
its processor seconds for the work. It needs perf (Debian: linux-perf) and the right to use it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks import load
from benchmarks.machine import tunnel_core
from benchmarks.processes import CpuMeter
from benchmarks.stage import Stage, running_stage

SECONDS = 4.0
GIB = 1 << 30
_KINDS = (
    ("kernel", r"\[kernel"),
    ("interpreter", r"libpython|^python"),
    ("tunnel core", r"mypyc"),
    ("event loop", r"^loop\.cpython"),
    ("TLS", r"libcrypto|libssl|^_ssl"),
    ("C library", r"^libc\.|vdso"),
    ("Envoy", r"^envoy"),
)


def shares(process: int, directory: Path) -> Counter[str]:
    """Percent of the samples of SECONDS by kind of code."""
    data = directory / f"{process}.data"
    record = ["perf", "record", "-q", "-o", str(data), "-p", str(process), "--", "sleep", f"{SECONDS - 1:g}"]
    subprocess.run(record, check=True, capture_output=True)
    report = ["perf", "report", "-i", str(data), "--sort", "dso", "--stdio", "-q"]
    lines = subprocess.run(report, check=True, capture_output=True, text=True).stdout.splitlines()
    found: Counter[str] = Counter()
    for line in filter(None, map(str.strip, lines)):
        percent, name = line.split(None, 1)
        found[_kind(name)] += float(percent.rstrip("%"))
    return found


def _kind(name: str) -> str:
    return next((kind for kind, pattern in _KINDS if re.search(pattern, name)), "other")


def under_load(stage: Stage, agent: int, work: Callable[[], float], directory: Path) -> None:
    """Print the processes' shares while `work` runs, and their seconds for one unit of what it returns."""
    processes = stage.processes(agent)
    found: dict[str, Counter[str]] = {}
    samplers = [
        threading.Thread(target=lambda name=name, pid=pid: found.update({name: shares(pid, directory)}))
        for name, pid in processes.items()
    ]
    with CpuMeter(processes) as cpu:
        for sampler in samplers:
            sampler.start()
        units = work()
        for sampler in samplers:
            sampler.join()
    for name in processes:
        parts = ", ".join(f"{kind} {percent:.0f} %" for kind, percent in found[name].most_common() if percent >= 1)
        print(f"  {name:6} {cpu.seconds[name] / units:5.2f} s: {parts}", flush=True)


def main() -> int:
    """The exit status."""
    if shutil.which("perf") is None:
        print("missing: perf", file=sys.stderr)
        return 1
    print(f"tunnel core: {tunnel_core()}")
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as name, running_stage(Path(name)) as stage:
        way, ca = stage.portico, stage.edge.ca
        print("keep-alive, 32 connections, for 10,000 requests")
        under_load(stage, way.http_agent, lambda: load.requests(way.http, 32, SECONDS).requests / 10_000, Path(name))
        for direction in ("down", "up"):
            print(f"bulk {direction}, 1 stream, for a GiB (visitors' TLS ends at the edge)")
            under_load(
                stage,
                way.bulk_agent,
                lambda direction=direction: load.bulk(way.bulk, ca, direction, 1, SECONDS) * SECONDS / GIB,
                Path(name),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
