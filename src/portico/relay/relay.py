"""One relay process: agents on one side, control on the other, a socket a bind between them and Envoy."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Final, Protocol

from portico.relay import limits, link, send_buffer
from portico.relay.arrival import Arrival
from portico.relay.binds import SocketPaths
from portico.relay.figures import Figures
from portico.relay.link_client import Command, LinkClient
from portico.relay.session import AgentSession, HeldSession, Surroundings

log = logging.getLogger(__name__)

AGENTS_BACKLOG: Final = 4096
"""Agents who come while the process restarts wait here: a refused one may stay away for minutes."""
DRAIN_SECONDS: Final = 5.0
"""Grace after SIGTERM; Drain brings its own."""
_DRAIN_STEP: Final = 0.2


class Door(Protocol):
    """What lets sessions in."""

    def close(self) -> None:
        """Let nobody in any more."""


class Relay:
    """Composes the parts and runs them until it is told to end."""

    def __init__(self, name: str, run_dir: Path, *, mark: str, agents_fd: int | None = None) -> None:
        self._name = name
        self._directory = run_dir / name
        self._agents_fd = agents_fd
        self._figures = Figures()
        self._link = LinkClient(str(run_dir / "control.sock"), self._hello, self._obey)
        self._around = Surroundings(self._link, SocketPaths(self._directory), self._figures, mark)
        self._ending: asyncio.Future[float]
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until Drain or SIGTERM."""
        loop = asyncio.get_running_loop()
        self._ending = loop.create_future()
        raise_file_limit()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._around.paths.clean()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, DRAIN_SECONDS)
        loop.add_signal_handler(link.MOVE_SIGNAL, lambda: self._begin(self._move_sessions()))
        server = await self._listen()
        linked = loop.create_task(self._link.run())
        log.info("relay serves", extra={"directory": str(self._directory)})
        grace = await self._ending
        server.close()
        await self._drain(grace)
        linked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await linked

    async def _listen(self) -> "Door":
        """Begin to take those whose sessions are to be held."""
        loop = asyncio.get_running_loop()
        return await loop.create_unix_server(self._arrive, sock=self._agents_socket(), backlog=AGENTS_BACKLOG)

    def _agents_socket(self) -> socket.socket:
        if self._agents_fd is not None:
            return socket.socket(fileno=self._agents_fd)
        path = self._directory / "agents.sock"
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        listening.listen(AGENTS_BACKLOG)
        return listening

    # Agents.

    def _arrive(self) -> Arrival:
        self._figures.sessions_unauthenticated += 1
        refused = self._figures.sessions_unauthenticated > limits.SILENT
        if refused:
            self._figures.sessions_refused_total += 1
        return Arrival(self._welcome, self._left, refused=refused)

    def _left(self) -> None:
        self._figures.sessions_unauthenticated -= 1

    def _welcome(self, transport: asyncio.Transport, remote: str, received: bytes) -> None:
        protocol = AgentSession(self._around, remote, self._left).protocol
        send_buffer.widen(transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.receive(received)

    # Control.

    def _hello(self) -> link.Hello:
        sessions = self._around.sessions.values()
        return link.Hello(
            relay=self._name,
            pid=os.getpid(),
            sessions=[session.lease for session in sessions if session.lease is not None],
            binds=[bind.lease for session in sessions for bind in session.binds.values() if bind.lease is not None],
        )

    def _obey(self, command: Command) -> None:
        match command:
            case link.CloseSession():
                if session := self._around.sessions.get(command.session):
                    session.close(command.reason)
            case link.StopBind():
                if session := self._around.sessions.get(command.session):
                    session.stop_bind(command)
            case link.AgentCommand():
                self._begin(self._command(command))
            case link.Collect():
                self._link.tell(link.Figures(id=command.id, values=self._figures.values()))
            case link.Drain():
                self._end(command.grace)

    async def _command(self, order: link.AgentCommand) -> None:
        session = self._around.sessions.get(order.session)
        error = await session.command(order.command, order.body) if session else "The session has ended."
        self._link.tell(link.AgentAnswer(id=order.id, error=error))

    # A new Envoy.

    async def _move_sessions(self) -> None:
        """Their connections came through an Envoy that will end; one after another, for each is a handshake."""
        for session in list(self._around.joinable.values()):
            self._begin(session.move())
            await asyncio.sleep(1 / limits.MOVES_A_SECOND)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The end.

    def _end(self, grace: float) -> None:
        if not self._ending.done():
            self._ending.set_result(grace)

    async def _drain(self, grace: float) -> None:
        """Send idle agents away at once, busy ones when their visitors are done or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        log.info("draining", extra={"sessions": len(self._around.sessions), "grace": grace})
        while self._around.sessions and loop.time() < deadline:
            self._dismiss(session for session in list(self._around.sessions.values()) if session.is_idle())
            await asyncio.sleep(_DRAIN_STEP)
        self._dismiss(list(self._around.sessions.values()))
        # The last GOAWAYs leave, and control hears of the sessions' ends.
        await asyncio.sleep(_DRAIN_STEP)
        self._around.paths.clean()

    def _dismiss(self, sessions: Iterable[HeldSession]) -> None:
        for session in sessions:
            session.close("the relay ends")


def raise_file_limit() -> None:
    """Allow as many open files as the system lets this process have: each bind and each visitor is one."""
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
