"""A server and its agents as processes: what every contender has in common, and how each differs (`Contender`)."""

import abc
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from benchmarks import ROOT
from benchmarks.comparison import Named
from benchmarks.peers.place import Place
from benchmarks.processes import family
from benchmarks.visit import Visit
from kit.ports import free_port_range

DOMAIN = "edge.test"
START_SECONDS = 30.0
_taken: set[int] = set()


def ports(count: int) -> list[int]:
    """Neighbouring free ports that no other contender of this run was given."""
    while True:
        first, last = free_port_range(count)
        wanted = range(first, last + 1)
        if _taken.isdisjoint(wanted):
            _taken.update(wanted)
            return list(wanted)


@dataclass(frozen=True)
class Forward:
    """One public port, or host, for one local service of 127.0.0.1."""

    name: str
    """`small`, `bulk` or `secure` (the small one in TLS), or one's own."""
    local: int
    public: int


@dataclass(frozen=True)
class Target:
    """What visitors ask, at 127.0.0.1 unless they are told another address."""

    scheme: str
    host: str
    port: int
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """With no path."""
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True)
class Command:
    """A program that runs until it is killed."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stdin: str = ""
    """Its first lines; standard input stays open behind them."""


@dataclass(frozen=True)
class Setting:
    """What a contender is started with."""

    place: Place
    directory: Path
    """Its own; files, logs."""
    programs: Mapping[str, Path]
    key_pair: tuple[Path, Path]
    """A certificate for `DOMAIN`, and its key."""
    authority: Path
    """Who signed it."""


class Server(Protocol):
    """A server that runs."""

    @property
    def pid(self) -> int:
        """Of the process that all others of the server come from."""
        ...

    def agents(self, forwards: Sequence[Forward]) -> list[Command]:
        """The processes that bring these online: one, where the peer's agent can carry several."""
        ...

    def crowd(self, forwards: Sequence[Forward]) -> list[Command]:
        """The processes that bring these online over a session each."""
        ...

    def target(self, forward: Forward) -> Target:
        """Where visitors find it."""
        ...


class Contender(abc.ABC):
    """One way through."""

    needs: ClassVar[str] = ""
    """The peer, as `build.PEERS` knows it; empty for what is part of this repository."""
    ends_tls = False
    """Whether the server ends visitors' TLS; else the service does."""
    carries: tuple[str, ...] = ("small", "bulk", "secure")
    """What it takes part with."""

    @property
    @abc.abstractmethod
    def named(self) -> Named:
        """As tables show it."""

    @abc.abstractmethod
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> contextlib.AbstractContextManager[Server]:
        """Start the server, and wait until agents can come."""


@contextlib.contextmanager
def running(command: Command, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process, its children, and its words in `log`; killed with this program, however that ends."""
    with log.open("a") as words:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command.argv],
            env=dict(command.environment), cwd=ROOT, stdin=subprocess.PIPE, stdout=words, stderr=words, text=True,
        )  # fmt: skip
    assert process.stdin is not None
    try:
        if command.stdin:
            process.stdin.write(command.stdin)
            process.stdin.flush()
        yield process
    finally:
        for pid in family(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


class Tunnel:
    """A running contender: the server, and agents that can be stopped and started."""

    def __init__(self, server: Server, commands: Sequence[Command], targets: Mapping[str, Target], log: Path) -> None:
        self.targets = targets
        self._server = server
        self._commands = commands
        self._log = log
        self._agents = contextlib.ExitStack()
        self._processes: list[subprocess.Popen[str]] = []

    def server(self) -> list[int]:
        """Processes of the server."""
        return family(self._server.pid)

    def agent(self) -> list[int]:
        """Processes of the agent."""
        return [pid for process in self._processes for pid in family(process.pid)]

    def agent_ended(self) -> bool:
        """Whether one of them has ended by itself."""
        return any(process.poll() is not None for process in self._processes)

    def start_agent(self) -> None:
        """Returns at once."""
        self._processes = [self._agents.enter_context(running(each, self._log)) for each in self._commands]

    def stop_agent(self) -> None:
        """As a power cut does."""
        self._agents.close()
        self._processes = []

    def until_ok(self, visit: Visit, names: Sequence[str], seconds: float = START_SECONDS) -> None:
        """Wait until all of these answer. Raises RuntimeError with the last words of the agents."""
        deadline = time.monotonic() + seconds
        for target in (self.targets[name] for name in names):
            while visit.status(f"{target.url}/", timeout=2) != 200:
                if time.monotonic() > deadline or self.agent_ended():
                    raise RuntimeError(f"{target.url} does not answer: {last_words(self._log)}")
                time.sleep(0.02)


@contextlib.contextmanager
def tunnel(contender: Contender, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Tunnel]:
    """Server and agents for `forwards`, all of which answer."""
    place = setting.place
    with contextlib.ExitStack() as stack:
        with place.at_server():
            server = stack.enter_context(contender.serve(setting, forwards))
        commands = [
            Command(tuple(place.of_agent(each.argv)), each.environment, each.stdin) for each in server.agents(forwards)
        ]
        made = Tunnel(
            server, commands, {each.name: server.target(each) for each in forwards}, setting.directory / "agent.log"
        )
        stack.callback(made.stop_agent)
        made.start_agent()
        with place.at_server():
            made.until_ok(Visit(setting.authority, *_edge_authority(setting)), list(made.targets))
        yield made


def _edge_authority(setting: Setting) -> list[Path]:
    return [path for path in [setting.directory / "edge" / "ca.pem"] if path.exists()]


def last_words(log: Path) -> str:
    """The last line that is worth repeating."""
    lines = (
        [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    )
    return lines[-1][-200:] if lines else "no word"


class Program:
    """The server of a peer: one process."""

    def __init__(
        self,
        pid: int,
        agents: Callable[[Sequence[Forward]], list[Command]],
        target: Callable[[Forward], Target],
    ) -> None:
        self.pid = pid
        self.agents = agents
        self.target = target

    def crowd(self, forwards: Sequence[Forward]) -> list[Command]:
        """An agent for each."""
        return [command for forward in forwards for command in self.agents([forward])]


def tcp_target(forward: Forward) -> Target:
    """A port of its own; the bytes pass as they are."""
    return Target("https" if forward.name == "secure" else "http", f"{forward.name}.{DOMAIN}", forward.public)


@contextlib.contextmanager
def peer_server(command: Command, setting: Setting, address: tuple[str, int]) -> Iterator[subprocess.Popen[str]]:
    """A peer's server, once it listens at `address`."""
    log = setting.directory / "server.log"
    with running(command, log) as process:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(address, 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server does not listen: {last_words(log)}") from None
                time.sleep(0.02)
        yield process
