"""The processes beside the edge: services, the network's hops, agents of three kinds. Each can be started anew."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from kit import ngrok_sdk
from kit.cli import COMMAND
from kit.edge import RunningEdge

KIT = Path(__file__).parent.parent.parent
_START_SECONDS = 90.0


class EndedError(Exception):
    """A program has ended, or does not begin to serve."""


class Program:
    """A process with what it says in a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self.log = log
        self._environment = {**(environment or os.environ), "PYTHONPATH": os.pathsep.join(_python_path())}
        self._process: subprocess.Popen[str] | None = None
        self._talking = threading.Lock()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self.log.open("a") as errors:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=self._environment,
            )  # fmt: skip
        self.begin()

    def begin(self) -> None:
        """Wait until it serves."""
        self.read()

    def read(self) -> str:
        """One line of it. Raises EndedError where it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise EndedError(f"{self._command} ended: {self.log.read_text()[-2000:]}")
        return line

    def say(self, line: str) -> str:
        """Tell it something; its answer. Two faults may meet here."""
        assert self._process is not None
        assert self._process.stdin is not None
        with self._talking:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            return self.read()

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _python_path() -> list[str]:
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return [*given, str(KIT)]


class Hop(Program):
    """The network between one agent and the edge; it has a port when it has begun."""

    port = 0

    def begin(self) -> None:
        self.port = int(self.read())


class CliAgent(Program):
    """`portico start --all`, up when all its endpoints are."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str], endpoints: int) -> None:
        super().__init__(command, log, environment)
        self._endpoints = endpoints

    def start(self) -> None:
        """Start it and wait until its log, which is added to, has the URL of each endpoint."""
        before = self.log.stat().st_size if self.log.exists() else 0
        super().start()
        deadline = time.monotonic() + _START_SECONDS
        while self.log.read_text()[before:].count('"url"') < self._endpoints:
            if not self.running or time.monotonic() > deadline:
                raise EndedError(f"the agent does not serve: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def begin(self) -> None:
        """Nothing is said beside the log."""


class NgrokAgent(Program):
    """The official ngrok Python SDK."""

    def __init__(self, command: list[str], log: Path, forwards: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(command, log)
        self._forwards = forwards

    def begin(self) -> None:
        """Bind everything; an edge that is busy with its own fault is asked again."""
        deadline = time.monotonic() + _START_SECONDS
        for address, options in self._forwards:
            while "error" in (answer := json.loads(self.say(json.dumps(["forward", address, options])))):
                if time.monotonic() > deadline:
                    raise EndedError(f"ngrok's SDK: {answer['error']}")
                time.sleep(0.5)


def service(ports: tuple[int, int, int], pair: tuple[Path, Path], log: Path) -> Program:
    """See `service.py`."""
    arguments = [*map(str, ports), *map(str, pair)]
    return Program([sys.executable, "-m", "kit.soak.service", *arguments], log)


def hop(edge: RunningEdge, log: Path) -> Hop:
    """See `hop.py`."""
    return Hop([sys.executable, "-m", "kit.soak.hop", str(edge.https_port)], log)


def cli_agent(edge: RunningEdge, hop_port: int, directory: Path, endpoints: list[dict[str, Any]]) -> CliAgent:
    """Our command line with a configuration file."""
    agent = {
        "authtoken": edge.authtoken, "connect_url": f"localhost:{hop_port}", "connect_cas": str(edge.ca),
        "web_addr": "false", "inspect_db_size": 1_000_000, "heartbeat_interval": "2s", "heartbeat_tolerance": "6s",
    }  # fmt: skip
    file = directory / "portico.yml"
    file.write_text(yaml.safe_dump({"version": 3, "agent": agent, "endpoints": endpoints}))
    command = [*COMMAND, "start", "--all", "--config", str(file), "--log", "stderr", "--log-format", "json"]
    return CliAgent(command, directory / "cli.log", dict(os.environ), len(endpoints))


def sdk_agent(edge: RunningEdge, hop_port: int, directory: Path, forwards: list[dict[str, Any]]) -> Program:
    """Our SDK."""
    session = {"authtoken": edge.authtoken, "connect_url": f"localhost:{hop_port}", "connect_cas": str(edge.ca)}
    arguments = [json.dumps({**session, **options}) for options in forwards]
    return Program([sys.executable, "-m", "kit.soak.sdk_agent", *arguments], directory / "sdk.log")


def ngrok_agent(
    edge: RunningEdge, hop_port: int, directory: Path, forwards: list[tuple[str, dict[str, Any]]]
) -> NgrokAgent:
    """ngrok's SDK."""
    command = [sys.executable, ngrok_sdk.__file__, f"localhost:{hop_port}", str(edge.ca), edge.authtoken]
    return NgrokAgent(command, directory / "ngrok.log", forwards)
