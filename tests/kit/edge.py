"""A real `portico edge` for tests: its own data directory, free ports, ended with the test."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.ports import free_port_range, free_ports

READY_SECONDS = 60


@dataclass
class RunningEdge:
    """A node that printed its `ready` line."""

    process: subprocess.Popen[str]
    data_dir: Path
    facts: dict[str, str]
    log: Path

    @property
    def connect_url(self) -> str:
        """host:port for agents."""
        return f"localhost:{self.https_port}"

    @property
    def https_port(self) -> int:
        return int(self.facts["https"].rpartition(":")[2])

    @property
    def http_port(self) -> int:
        return int(self.facts["http"].rpartition(":")[2])

    @property
    def admin(self) -> str:
        """Base URL of the admin address."""
        return f"http://{self.facts['admin']}"

    @property
    def ca(self) -> Path:
        return self.data_dir / "ca.pem"

    @property
    def authtoken(self) -> str:
        return (self.data_dir / "authtoken").read_text().strip()

    @property
    def agent_environment(self) -> dict[str, str]:
        """What a `portico` or SDK process needs to find this edge."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PORTICO_", "NGROK_"))},
            "PORTICO_CONNECT_URL": self.connect_url,
            "PORTICO_CONNECT_CAS": str(self.ca),
            "PORTICO_AUTHTOKEN": self.authtoken,
        }

    def child(self, name: str) -> int:
        """Process id of a child: `envoy`, `control`, `r0` (from the supervisor's process list file)."""
        for line in (self.data_dir / "processes").read_text().splitlines():
            known, _, pid = line.partition(" ")
            if known == name:
                return int(pid)
        raise LookupError(f"no child {name}")

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def running_edge(directory: Path, *flags: str, tcp_ports: int = 20) -> Iterator[RunningEdge]:
    """Start an edge under `directory`; `flags` go before the ones that tests need."""
    data_dir, log = directory / "edge", directory / "edge.log"
    first, last = free_port_range(tcp_ports)
    https, http, admin, ssh = (f"127.0.0.1:{port}" for port in free_ports(4))
    command = [
        *(
            sys.executable,
            "-m",
            "portico.cli.main",
            "edge",
            "--https-addr",
            https,
            "--http-addr",
            http,
        ),
        *(
            "--admin-addr",
            admin,
            "--tcp-host",
            "127.0.0.1",
            "--ssh-addr",
            ssh,
            "--tcp-ports",
            f"{first}-{last}",
        ),
        # Visitors are gone when a test ends; to look whether all are takes half a second.
        *("--data-dir", str(data_dir), "--log-format", "json", "--drain-seconds", "0", *flags),
    ]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    try:
        line = _first_line(process, log)
        facts = dict(word.split("=", 1) for word in line.split()[1:])
        edge = RunningEdge(process, data_dir, facts, log)
        yield edge
        edge.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("ready "):
        raise RuntimeError(f"the edge did not become ready: {line!r}\n{log.read_text()[-4000:]}")
    return line
