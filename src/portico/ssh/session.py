"""One SSH connection's session: its forwards are binds, its channels carry the visitors."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final

import asyncssh
import msgspec

from portico.model.errors import (
    BIND_INVALID,
    EDGE_BUSY,
    SESSION_CLOSED,
    STREAM_LIMIT,
    TOO_MANY_ENDPOINTS,
    UPSTREAM_UNREACHABLE,
    ErrorCode,
    PorticoError,
)
from portico.relay import link
from portico.relay.binds import Bind
from portico.relay.carriage import Carriage
from portico.relay.session import Surroundings
from portico.ssh import limits
from portico.ssh.channel import VisitorChannel
from portico.ssh.command import Command
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import ProxyInfo

log = logging.getLogger(__name__)

NOWHERE: Final = "0.0.0.0", 0  # noqa: S104 - the originator of a channel whose visitor is named in the request
OPEN_FAILED: Final = "open failed"
"""OpenSSH's reason where it knows no such forward: it compares names by letter, and asyncssh sends small ones."""
_FAILURE_SECONDS: Final = 5.0
"""How long a client's reason explains a visitor that got no answer."""
_REASON_CHARACTERS: Final = 200


class Forward(asyncssh.SSHListener):
    """One accepted `-R`."""

    def __init__(self, host: str, port: int, url: str, on_close: Callable[[], None]) -> None:
        """`host` and `port` are what the client knows the forward by."""
        super().__init__()
        self.host = host
        self.port = port
        self.url = url
        self._on_close = on_close

    def get_port(self) -> int:
        """What the client is told where it asked for port 0."""
        return self.port

    def close(self) -> None:
        """The client cancelled it, or its connection ended."""
        self._on_close()


class SshSession:
    """Between control, which decides, and the client, which reaches the upstreams. A `Carrier` and a `HeldSession`."""

    def __init__(
        self,
        around: Surroundings,
        connection: asyncssh.SSHServerConnection,
        remote: str,
        say: Callable[[str], None],
        part: Callable[[str], None],
    ) -> None:
        """`say` shows a line to the person at the client; `part` tells the reason and ends the connection."""
        self.id = secrets.token_hex(16)
        self.lease: link.SessionLease | None = None
        self.binds: dict[str, Bind] = {}
        self.figures = around.figures
        self.mark = around.mark
        self._around = around
        self._connection = connection
        self._remote = remote
        self._say = say
        self._part = part
        self._forwards: dict[str, Forward] = {}
        self._asked = 0
        self._open = 0
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()

    # For the connection.

    async def begin(self, agent: str, *, fingerprint: str, authtoken: str) -> None:
        """Become a session of the edge. Raises PorticoError where control refuses."""
        control = self._around.link
        reply = await control.ask(
            link.SshAuthenticate(
                id=control.next_id(),
                session=self.id,
                remote=self._remote,
                user_agent=agent,
                fingerprint=fingerprint,
                authtoken=authtoken,
            )
        )
        link.raise_refusal(reply.body)
        if self._ended:
            control.tell(link.SessionEnded(session=self.id, reason="left while it was admitted"))
            raise PorticoError(SESSION_CLOSED, "the connection has ended")
        self.lease = reply.session
        self._around.sessions[self.id] = self
        self.figures.sessions += 1
        self.figures.sessions_opened_total += 1
        log.info("session online", extra={"session": self.id, "remote": self._remote, "agent": agent})

    async def forward(self, host: str, port: int, command: Command) -> Forward:
        """Put one `-R` online. Raises PorticoError."""
        if self._asked >= limits.FORWARDS:
            raise PorticoError(TOO_MANY_ENDPOINTS, f"a connection can have {limits.FORWARDS} forwards")
        if port and any((host, port) == (other.host, other.port) for other in self._forwards.values()):
            raise PorticoError(
                BIND_INVALID,
                f"two forwards of this connection want {host or '*'}:{port}",
                fix="The client could not tell them apart: give each a name of its own, or port 0: `-R 0:…`.",
            )
        self._asked += 1
        try:
            bind = self._listen()
            lease = await self._granted(bind, host, port, command)
        except BaseException:
            self._asked -= 1
            raise
        self.binds[lease.bind] = bind
        self.figures.binds += 1
        self.figures.binds_opened_total += 1
        name = lease.bind
        forward = Forward(host, self._place(host, port, lease.url), lease.url, lambda: self._cancel(name))
        self._forwards[name] = forward
        return forward

    def ended(self, reason: str) -> None:
        """The connection is over."""
        if self._ended:
            return
        self._ended = True
        self._free()
        if self.lease is not None:
            log.info("session ended", extra={"session": self.id, "remote": self._remote, "reason": reason})
            self._around.link.tell(link.SessionEnded(session=self.id, reason=reason))

    # For visitors.

    @property
    def alive(self) -> bool:
        """Whether the connection still carries channels."""
        return not self._ended and not self._connection.is_closed()

    def open_proxy(self, lease: link.BindLease, address: ProxyInfo, first: bytes, handler: StreamHandler) -> Carriage:
        """A new channel to the client's upstream. Raises PorticoError(STREAM_LIMIT or SESSION_CLOSED)."""
        forward = self._forwards.get(lease.bind)
        if not self.alive or forward is None:
            raise PorticoError(SESSION_CLOSED, "the connection has ended")
        if self._open >= limits.VISITORS:
            raise PorticoError(STREAM_LIMIT, f"the connection carries {limits.VISITORS} visitors")
        header = address.encode(lease.proxy_protocol) if lease.proxy_protocol else b""
        visitor = address.client_addr()
        self._log(forward, f"connection from {visitor}" if visitor else "connection")
        channel = VisitorChannel(
            handler, header + first, lambda reason: self._refused(lease.bind, reason), self._visitor_gone
        )
        self._start(channel.open(partial(self._open_channel, forward, address)))
        self._open += 1
        self.figures.streams += 1
        self.figures.streams_opened_total += 1
        return channel

    def unseen(self, carriage: Carriage) -> bool:
        """A client says that it reached nobody by refusing a channel, and those are not told apart here."""
        return False

    def failure(self, bind: str) -> tuple[ErrorCode, str] | None:
        """Why the client has just failed to reach the bind's upstream, if it did."""
        served = self.binds.get(bind)
        if served is None or time.monotonic() - served.failed_at > _FAILURE_SECONDS:
            return None
        return served.failure

    # For control.

    def is_idle(self) -> bool:
        """Whether no visitor awaits anything."""
        return not any(visitor.waiting for bind in self.binds.values() for visitor in bind.visitors)

    def close(self, reason: str) -> None:
        """End the session: its sockets are gone when this returns."""
        visitors = [visitor for bind in self.binds.values() for visitor in bind.visitors]
        self.ended(reason)
        for visitor in visitors:
            visitor.cut()
        self._part(reason)

    def stop_bind(self, order: link.StopBind) -> None:
        """Stop serving a bind and say so. SSH knows no word for it: the client finds out by the line."""
        bind, forward = self.binds.pop(order.bind, None), self._forwards.pop(order.bind, None)
        if bind is None or forward is None:
            return
        self.figures.binds -= 1
        bind.close()
        bind.cut()
        self._log(forward, f"ended by the edge: {order.message}")

    async def command(self, name: str, body: dict[str, object]) -> str:
        """Only Stop means something to an SSH client, and it means the end."""
        if name != "stop":
            return f"An SSH client cannot {name}."
        self.close("stopped by the edge's operator")
        return ""

    # The parts of the above.

    def _listen(self) -> Bind:
        try:
            return Bind(self._around.paths.next())
        except OSError as failure:
            log.exception("a bind's socket could not be made", extra={"session": self.id})
            raise PorticoError(EDGE_BUSY, f"the edge cannot serve another endpoint: {failure.strerror}") from None

    async def _granted(self, bind: Bind, host: str, port: int, command: Command) -> link.BindLease:
        """Control's lease, with `bind` serving it."""
        control = self._around.link
        try:
            reply = await control.ask(
                link.SshForward(
                    id=control.next_id(),
                    session=self.id,
                    address=bind.path,
                    host=host,
                    port=port,
                    body=msgspec.to_builtins(command),
                )
            )
            link.raise_refusal(reply.body)
            assert reply.bind is not None
            await bind.serve(reply.bind, self)
        except BaseException:
            bind.close()
            raise
        if self._ended:
            bind.close()
            raise PorticoError(SESSION_CLOSED, "the connection has ended")
        return reply.bind

    def _place(self, host: str, port: int, url: str) -> int:
        """The port that tells this forward from the connection's others: the client sends visitors by it."""
        if port:
            return port
        used = {forward.port for forward in self._forwards.values()}
        shown = int(url.rpartition(":")[2]) if url.rpartition(":")[2].isdigit() else 443
        while shown in used:
            shown = shown % 0xFFFF + 1
        return shown

    async def _open_channel(self, forward: Forward, address: ProxyInfo, factory: Callable[[], VisitorChannel]) -> None:
        host, port = address.source or NOWHERE
        await self._connection.create_connection(
            factory, forward.host, forward.port, host, port, window=limits.WINDOW, max_pktsize=limits.PACKET
        )

    def _visitor_gone(self) -> None:
        self._open -= 1

    def _refused(self, name: str, reason: str) -> None:
        bind, forward = self.binds.get(name), self._forwards.get(name)
        if bind is None or forward is None:
            return
        if reason == OPEN_FAILED:
            reason += "; write the name after -R in small letters"
        words = "".join(sign for sign in reason if sign.isprintable())[:_REASON_CHARACTERS] or "no reason given"
        bind.failure = UPSTREAM_UNREACHABLE, f"The ssh client could not reach its upstream: {words}"
        bind.failed_at = time.monotonic()
        self._log(forward, f"your upstream was not reached: {words}")

    def _cancel(self, name: str) -> None:
        # At once: a client that goes away closes its forwards first, and has ended before a task would look.
        if self._forwards.pop(name, None) is not None:
            self._asked -= 1
            self._start(self._unbind(name))

    async def _unbind(self, name: str) -> None:
        if self._ended:
            return
        control = self._around.link
        await control.ask(link.Unbind(id=control.next_id(), session=self.id, bind=name))
        # Only now, so that Envoy has stopped to use the socket; visitors who are connected may finish.
        bind = self.binds.pop(name, None)
        if bind is not None:
            self.figures.binds -= 1
            bind.close()

    def _log(self, forward: Forward, text: str) -> None:
        self._say(f"{time.strftime('%H:%M:%SZ', time.gmtime())}  {forward.url}  {text}")

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _free(self) -> None:
        if self._around.sessions.pop(self.id, None) is not None:
            self.figures.sessions -= 1
        self.figures.binds -= len(self.binds)
        binds, self.binds = self.binds, {}
        self._forwards.clear()
        for bind in binds.values():
            bind.close()
