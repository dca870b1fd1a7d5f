"""Who is there and does nothing: visitors with open connections, and sessions."""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence

from benchmarks.comparison import Record, Sample, Work, gather
from benchmarks.peers.place import Place
from benchmarks.peers.stage import Ground, Way
from benchmarks.peers.tunnel import Contender, Forward, Target, ports, running
from benchmarks.peers.unit import Size, Unit
from benchmarks.processes import RolesMeter, family, proportional_bytes
from benchmarks.visit import Visit

_SETTLE_SECONDS = 1.0

EMPTY = Work(
    "empty",
    "Memory with nobody there",
    "All processes of the server, and of the agent, just started, with the tunnels of this benchmark and no visitor; "
    "pages that processes share are divided among them.",
    "MB",
    "lower",
)
VISITORS = Work(
    "idle-visitors",
    "Memory of idle visitors",
    "1,000 visitors (100 in a quick run) get one answer each and keep their connection open. What all processes of the "
    "server, and of the agent, have grown by, for one visitor, mapped files left out.",
    "kB a visitor",
    "lower",
)
CPU = Work(
    "idle-cpu",
    "CPU at rest",
    "Processor time in a second with those 1,000 idle visitors, and with the idle sessions below.",
    "CPU ms/s",
    "lower",
)
SESSIONS = Work(
    "idle-sessions",
    "Memory of idle sessions",
    "100 agents (10 in a quick run), each with a session and a tcp tunnel of its own. What all processes of the server "
    "have grown by since the first tenth of them was there, for one session, mapped files left out. `make bench` has "
    "Portico's figures for 1,000 sessions and for 10,000 endpoints.",
    "kB a session",
    "lower",
)
_CROWDED = ("portico tcp", "frp", "rathole", "chisel", "bore", "ssh -R")


def _visitors(way: Way, size: Size) -> Iterator[Sample]:
    if way.tunnel is None:
        return
    for role, pids in way.roles().items():
        yield Sample(EMPTY.name, role, way.name, proportional_bytes(pids) / 1e6)
    before = _memory(way.roles())
    with contextlib.ExitStack() as stack:
        for _ in range(size.visitors):
            stack.enter_context(_idle_visitor(way.targets["small"]))
        time.sleep(_SETTLE_SECONDS)
        with RolesMeter(way.roles()) as cpu:
            time.sleep(size.rest)
        after = _memory(way.roles())
    for role, used in after.items():
        yield Sample(VISITORS.name, role, way.name, (used - before[role]) / size.visitors / 1e3)
    both = cpu.seconds["server + agent"]
    yield Sample(CPU.name, "1,000 visitors: server + agent", way.name, 1e3 * both / size.rest)


def _memory(roles: dict[str, list[int]]) -> dict[str, int]:
    return {role: proportional_bytes(pids, own=True) for role, pids in roles.items()}


@contextlib.contextmanager
def _idle_visitor(target: Target) -> Iterator[None]:
    with socket.create_connection((target.address, target.port), 10) as visitor:
        visitor.sendall(f"GET / HTTP/1.1\r\nhost: {target.host}:{target.port}\r\n\r\n".encode())
        if not visitor.recv(4096).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a visitor was not answered")
        yield


def sessions(ground: Ground, contenders: Sequence[Contender], size: Size, record: Record) -> None:
    """One contender after the other, alone."""
    with ground.services(Place()) as services:
        for contender in contenders:
            name = contender.named.name
            if name in _CROWDED:
                numbers = enumerate(ports(size.sessions))
                forwards = [Forward(f"s{number}", services.small, port) for number, port in numbers]
                gather(record, (SESSIONS.name,), name, lambda: _sessions(ground, contender, forwards, size))  # noqa: B023


def _sessions(ground: Ground, contender: Contender, forwards: Sequence[Forward], size: Size) -> list[Sample]:
    setting, visit, name = ground.setting(Place()), Visit(ground.authority), contender.named.name
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contender.serve(setting, forwards))
        first, others = forwards[: len(forwards) // 10], forwards[len(forwards) // 10 :]
        sizes = []
        for some in (first, others):
            for command in server.crowd(some):
                stack.enter_context(running(command, setting.directory / "agent.log"))
            for forward in some:
                visit.until_ok(f"{server.target(forward).url}/", pause=0.05)
            time.sleep(_SETTLE_SECONDS)
            sizes.append(proportional_bytes(family(server.pid), own=True))
        with RolesMeter({"server": family(server.pid)}) as cpu:
            time.sleep(size.rest)
    return [
        Sample(SESSIONS.name, "server", name, (sizes[1] - sizes[0]) / len(others) / 1e3),
        Sample(CPU.name, "100 sessions: server", name, 1e3 * cpu.seconds["server"] / size.rest),
    ]


UNITS = (Unit("idle-visitors", (EMPTY, VISITORS, CPU), (_visitors,), rounds=1),)
WORKS = (SESSIONS,)
