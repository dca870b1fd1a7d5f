"""Visitors in number: wrk for requests, curl for bulk. Closed loops: each visitor asks again when it is answered."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Direction = Literal["down", "up"]
_LOOPBACK = "127.0.0.1"
_SCRIPT = Path(__file__).parent / "load.lua"


@dataclass(frozen=True)
class Load:
    """What wrk saw; latencies in milliseconds."""

    requests: int
    seconds: float
    refused: int
    failed: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def requests(
    url: str,
    connections: int,
    seconds: float,
    *,
    close: bool = False,
    address: str = _LOOPBACK,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """GET `url` at `address` over `connections`, kept alive or closed after each answer. Raises where some failed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(_SCRIPT)]
    command += ["-H", "Connection: close"] if close else []
    command += [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    environment = {**os.environ, "VISIT_ADDRESS": address}
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    load = Load(**json.loads(done.stdout.rstrip().rpartition("\n")[2]))
    if load.failed or load.refused:
        raise RuntimeError(f"{url}: {load}")
    return load


def bulk(url: str, ca: Path, direction: Direction, streams: int, seconds: float, address: str = _LOOPBACK) -> float:
    """Bytes per second of `streams` connections to `address` together."""
    port = url.rpartition(":")[2]
    figure = "%{size_download}" if direction == "down" else "%{size_upload}"
    command = [
        *("curl", "-s", "--http1.1", "--noproxy", "*", "--connect-to", f"::{address}:{port}", "--cacert", str(ca)),
        *("--max-time", f"{seconds:g}", "-o", "/dev/null", "-w", f"{figure} %{{time_total}}"),
        # From a file without an end, so with chunks without an end, until the time is over.
        *(("-H", "Expect:", "-T", "/dev/zero") if direction == "up" else ()),
        f"{url}/endless",
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(streams)]
    try:
        answers = [process.communicate(timeout=seconds + 60)[0].split() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return sum(int(size) / float(time) for size, time in answers)
