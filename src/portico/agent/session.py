"""A session: one agent known to one edge, through as many connections as it takes.

It dials, authenticates, binds; when the connection is lost it comes back under the same identity and binds again with
the ids and tokens it had, so that every URL stays. It never gives up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, Final

from portico.agent import network
from portico.agent.backoff import Backoff
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import Trust
from portico.agent.edge_errors import edge_error
from portico.agent.legs import Legs
from portico.agent.link import NO_FACTS, EdgeFacts, EdgeLink, Identity, Linker
from portico.agent.settings import SessionSettings
from portico.model.errors import BIND_REJECTED, CONNECT_FAILED, EDGE_BUSY, SESSION_CLOSED, PorticoError
from portico.model.value import Value
from portico.tunnel.events import Event, HeartbeatEchoed
from portico.tunnel.frames import ErrorCode, ProtocolError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, ProxyHeaderReader, StreamKind
from portico.tunnel.rpc import Answering
from portico.tunnel.transport import Stream

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 30.0
"""How long a Bind may take; the edge answers when Envoy has taken it."""
FAREWELL_SECONDS: Final = 2.0
BUSY_ATTEMPTS: Final = 8
"""How often the first connection is tried against an edge that says it is not ready."""
EAGER_ATTEMPTS: Final = 60
"""Retries that come quickly, about a quarter of a minute: edges restart and networks change in less."""
STEADY_SECONDS: Final = 5.0
"""A link that lasted so long makes the next retry immediate again."""

Serve = Callable[[Stream, ProxyHeader, bytes], None]
"""Takes a visitor's stream, its header, and the bytes that came with it."""
Command = Callable[[dict[str, object]], Awaitable[None]]
"""Obeys a Stop, Restart or Update of the edge's operator; what it raises is told to the operator."""
COMMANDS: Final[Mapping[int, str]] = {
    StreamKind.STOP: "Stop",
    StreamKind.RESTART: "Restart",
    StreamKind.UPDATE: "Update",
}


class SessionState(StrEnum):
    """Where a session stands."""

    CONNECTING = "connecting"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class SessionStatus(Value, frozen=True):
    """A session at one moment."""

    state: SessionState = SessionState.CONNECTING
    reason: str = ""
    """Why it is not online."""
    latency: float | None = None
    """Seconds of the last heartbeat's round trip."""
    facts: EdgeFacts = NO_FACTS


class Bind:
    """An endpoint that a session serves."""

    def __init__(self, request: BindRequest, serve: Serve) -> None:
        self.request = request
        self.serve = serve
        self.id = ""
        self.url = ""
        self.proto = ""
        self.online = False
        self.problem: PorticoError | None = None
        """Why it is offline, if it is."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token = ""
        self._opts: dict[str, Any] | None = None

    @property
    def kind(self) -> int:
        """The stream type of its request."""
        labelled = self.request.kind is BindKind.LABELED
        return StreamKind.START_TUNNEL_WITH_LABEL if labelled else StreamKind.BIND

    def message(self) -> dict[str, Any]:
        """The first Bind, or the re-bind that keeps id and URL."""
        return self.request.wire(self.id, self._token, self._opts)

    def bound(self, answer: dict[str, object]) -> None:
        """Take the edge's answer."""
        # On a re-bind the edge goes on using the id that we sent; only labelled requests carry none.
        if not self.id or self.request.kind is BindKind.LABELED:
            self.id = str(answer.get("Id") or "")
        self.url = str(answer.get("URL") or self.url)
        self.proto = str(answer.get("Proto") or self.proto)
        extra, opts = answer.get("Extra"), answer.get("Opts")
        if isinstance(extra, dict) and isinstance(extra.get("Token"), str):
            self._token = extra["Token"]
        if isinstance(opts, dict):
            self._opts = opts
        self.online, self.problem = True, None

    def end(self, error: PorticoError | None = None) -> None:
        """It is over, by us or by the edge (`error`)."""
        self.online, self.problem = False, error
        if not self.closed.done():
            self.closed.set_result(None)


class AgentSession:
    """See the module. Use it on one event loop."""

    def __init__(
        self,
        settings: SessionSettings,
        on_change: Callable[[SessionStatus], None] = lambda _: None,
        commands: Mapping[str, Command] | None = None,
        trust: Trust | None = None,
    ) -> None:
        """`commands` maps Stop, Restart and Update to what obeys them; `trust` may be there already.

        Raises PorticoError(CERTIFICATE_INVALID).
        """
        self.settings = settings
        self.status = SessionStatus()
        self._on_change = on_change
        self._commands = dict(commands or {})
        self._linker = Linker(settings, self._on_stream, self._on_event, frozenset(self._commands), trust)
        self._identity = Identity()
        self._link: EdgeLink | None = None
        self._legs: Legs | None = None
        self._linked = asyncio.Event()
        self._binds: list[Bind] = []
        self._asking = 0
        """Requests that may tell us of binds which we do not know yet."""
        self._early: list[_Early] = []
        self._keeper: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.status.state is SessionState.CLOSED

    @property
    def binds(self) -> list[Bind]:
        """What it serves."""
        return list(self._binds)

    async def connect(self, *, persistent: bool = False) -> None:
        """Connect for the first time; afterwards the session keeps itself online.

        What the edge refuses is raised at once; a network that does not answer is too, unless `persistent`.
        Raises PorticoError.
        """
        backoff = Backoff()
        attempts = 0
        while True:
            try:
                await self._come_online()
                break
            except PorticoError as error:
                attempts += 1
                passing = error.code in (EDGE_BUSY, CONNECT_FAILED) if persistent else error.code is EDGE_BUSY
                if not passing or (attempts > BUSY_ATTEMPTS and not persistent):
                    raise
                self._set(SessionState.CONNECTING, error.message)
                await self._pause(backoff.next_delay())
        self._keep()

    async def bind(self, request: BindRequest, serve: Serve) -> Bind:
        """Bring one endpoint online; `serve` gets each visitor's stream. Raises PorticoError."""
        bind = Bind(request, serve)
        with self._awaiting_binds():
            while True:
                link = await self._online_link()
                try:
                    await self._ask_bind(link, bind)
                    break
                except PorticoError:
                    if link.is_open:
                        raise
            self._binds.append(bind)
        log.info("endpoint online", extra={"url": bind.url, "id": bind.id})
        return bind

    async def unbind(self, bind: Bind) -> None:
        """Take an endpoint offline. Never fails: without a connection the edge has let it go already."""
        if bind not in self._binds:
            return
        self._binds.remove(bind)
        link = self._link
        if link is not None and link.is_open:
            with suppress(PorticoError):
                await link.ask(StreamKind.UNBIND, {"Id": bind.id}, FAREWELL_SECONDS, BIND_REJECTED)
        bind.end()

    async def close(self) -> None:
        """Unbind all, say goodbye, close."""
        if self.closed:
            return
        self._set(SessionState.CLOSED)
        if self._keeper is not None:
            self._keeper.cancel()
        await asyncio.gather(*(self.unbind(bind) for bind in self.binds))
        link, self._link = self._link, None
        self._end_legs()
        self._linked.set()  # whoever waits for a link learns that there will be none
        if link is not None:
            link.protocol.close(ErrorCode.NONE, "the agent is closing")
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await asyncio.shield(link.ended)

    def reconnect_now(self) -> None:
        """Do not wait for the next attempt's turn."""
        self._hurry.set()

    # Staying online.

    async def _come_online(self) -> EdgeLink:
        link = await self._linker.connect(self._identity)
        self._identity = link.identity
        try:
            await self._bind_again(link)
        except BaseException:
            link.protocol.abort("binding again failed")
            raise
        self._link, self._legs = link, Legs(link, self._linker.join)
        self._linked.set()
        self._set(SessionState.ONLINE, facts=link.facts)
        log.info("session online", extra={"edge": str(self.settings.edge), "session": link.facts.session_id})
        return link

    def _keep(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        self._keeper = asyncio.create_task(self._keep_online(), name="portico session")

    async def _keep_online(self) -> None:
        backoff = Backoff(eager=EAGER_ATTEMPTS)
        loop = asyncio.get_running_loop()
        while True:
            link = self._link
            assert link is not None
            mending = asyncio.create_task(self._mend_binds(link), name="portico bind retries")
            try:
                reason = await asyncio.shield(link.ended)
            finally:
                mending.cancel()
            self._end_legs()
            self._linked.clear()
            if loop.time() - link.since >= STEADY_SECONDS:
                backoff.reset()
            for bind in self._binds:
                bind.online = False
            self._set(SessionState.RECONNECTING, reason)
            log.warning("session lost", extra={"edge": str(self.settings.edge), "reason": reason})
            await self._reconnect(backoff)

    async def _reconnect(self, backoff: Backoff) -> None:
        with network.watched(self._hurry.set):
            while True:
                await self._pause(backoff.next_delay())
                try:
                    await self._come_online()
                except PorticoError as error:
                    self._set(SessionState.RECONNECTING, error.message)
                    log.warning("cannot reconnect yet", extra={"reason": str(error)})
                else:
                    return

    async def _move(self, _: dict[str, object]) -> dict[str, object]:
        """Go on by another connection, because the way that this one takes will end. Streams end where they are."""
        old = self._link
        if old is None or self._legs is None:
            return {"Error": "the session is not online"}
        try:
            link = await self._linker.join(old, take_over=True)
        except PorticoError as error:
            return {"Error": error.protocol_text()}
        if self._link is not old or not old.is_open:
            link.protocol.abort("the session has ended meanwhile")
            return {"Error": "the session has ended meanwhile"}
        self._legs.stop_growing()
        self._link, self._legs = link, Legs(link, self._linker.join)
        self._keep()
        log.info("session moved to another connection", extra={"edge": str(self.settings.edge)})
        return {"Error": ""}

    def _end_legs(self) -> None:
        if self._legs is not None:
            self._legs.close()
            self._legs = None

    async def _pause(self, delay: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._hurry.wait()

    async def _online_link(self) -> EdgeLink:
        while True:
            if self.closed:
                raise PorticoError(SESSION_CLOSED, "the session is closed")
            if self._link is not None and self._link.is_open:
                return self._link
            await asyncio.sleep(0)  # lets the keeper see the end of a link before its mark is waited for
            await self._linked.wait()

    # Binds.

    async def _ask_bind(self, link: EdgeLink, bind: Bind) -> None:
        bind.bound(await link.ask(bind.kind, bind.message(), REQUEST_SECONDS, BIND_REJECTED))

    async def _bind_again(self, link: EdgeLink) -> None:
        """All binds of the session on a new link. What the edge refuses waits; what its loss cut short is raised."""
        with self._awaiting_binds():
            results = await asyncio.gather(*(self._ask_bind(link, bind) for bind in self.binds), return_exceptions=True)
        for bind, result in zip(self.binds, results, strict=True):
            if isinstance(result, PorticoError) and link.is_open:
                bind.problem = result
                log.warning("endpoint refused", extra={"url": bind.url, "reason": str(result)})
            elif isinstance(result, BaseException):
                raise result

    async def _mend_binds(self, link: EdgeLink) -> None:
        """Try again what the edge refused after a reconnect: another agent may hold the name for a while."""
        backoff = Backoff(first=1.0)
        while waiting := [bind for bind in self._binds if not bind.online]:
            await asyncio.sleep(max(1.0, backoff.next_delay()))
            for bind in waiting:
                with suppress(PorticoError):
                    await self._ask_bind(link, bind)
                    log.info("endpoint online", extra={"url": bind.url, "id": bind.id})

    @contextmanager
    def _awaiting_binds(self) -> Iterator[None]:
        """Visitors of an endpoint may come before its answer is read, by another connection even before it arrives."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            early, self._early = self._early, []
            for one in early:
                one.go_on(self._route)

    # What the edge asks.

    def _on_event(self, event: Event) -> None:
        if isinstance(event, HeartbeatEchoed) and self.status.state is SessionState.ONLINE:
            self._set(SessionState.ONLINE, latency=event.latency)

    def _on_stream(self, stream: Stream) -> StreamHandler | None:
        if stream.kind == StreamKind.PROXY:
            if self._legs is not None:
                self._legs.consider()
            return _ProxyHead(stream, self._route)
        if stream.kind in COMMANDS:
            return Answering(stream, lambda body: self._obey(COMMANDS[stream.kind], body))
        if stream.kind == StreamKind.STOP_TUNNEL:
            return Answering(stream, self._stop_bind)
        if stream.kind == StreamKind.MOVE:
            return Answering(stream, self._move)
        return None

    def _route(self, stream: Stream, header: ProxyHeader, rest: bytes) -> None:
        bind = next((bind for bind in self._binds if bind.id == header.id), None)
        if bind is not None:
            bind.serve(stream, header, rest)
        elif self._asking:
            stream.handler = early = _Early(stream, header, rest)
            self._early.append(early)
        else:
            stream.reset(ErrorCode.REFUSED)

    async def _obey(self, name: str, body: dict[str, object]) -> dict[str, object]:
        command = self._commands.get(name)
        if command is None:
            return {"Error": f"{name.lower()}: the agent has not defined a callback for this operation"}
        try:
            await command(body)
        except Exception as error:
            log.exception("a command of the edge failed", extra={"command": name})
            return {"Error": str(error) or type(error).__name__}
        return {"Error": ""}

    async def _stop_bind(self, body: dict[str, object]) -> None:
        bind = next((bind for bind in self._binds if bind.id == body.get("Id")), None)
        if bind is not None:
            self._binds.remove(bind)
            error = edge_error(f"{body.get('Message') or 'the edge ended the endpoint'}\n{body.get('ErrorCode') or ''}")
            log.warning("endpoint ended by the edge", extra={"url": bind.url, "reason": error.message})
            bind.end(error)

    def _set(
        self,
        state: SessionState,
        reason: str = "",
        *,
        facts: EdgeFacts | None = None,
        latency: float | None = None,
    ) -> None:
        old = self.status
        if old.state is SessionState.CLOSED:
            return
        self.status = SessionStatus(state, reason, latency or old.latency, facts or old.facts)
        self._on_change(self.status)


class _ProxyHead(StreamHandler):
    """Reads the header of a visitor's stream."""

    def __init__(self, stream: Stream, route: Serve) -> None:
        self._stream = stream
        self._route = route
        self._reader = ProxyHeaderReader()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            header = self._reader.feed(data)
        except ProtocolError as error:
            log.warning("bad proxy header", extra={"reason": error.message})
            self._stream.reset(ErrorCode.PROTOCOL)
            return
        if header is not None:
            self._route(self._stream, header, self._reader.rest)

    def eof_received(self) -> None:
        """The edge gave up."""
        self._stream.reset(ErrorCode.PROTOCOL)


class _Early(StreamHandler):
    """Holds a visitor whose bind is not known yet, and at most a window of what he sends."""

    def __init__(self, stream: Stream, header: ProxyHeader, first: bytes) -> None:
        self._stream = stream
        self._header = header
        self._held = [first]
        self._finished = False
        self._over = False
        stream.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hold it."""
        self._held.append(data)

    def eof_received(self) -> None:
        """Remember it."""
        self._finished = True

    def connection_lost(self, code: int | None) -> None:
        """Remember it: nobody would tell the upstream's side."""
        self._over = True

    def go_on(self, route: Serve) -> None:
        """The binds are known now."""
        if self._over:
            return
        stream = self._stream
        stream.resume_reading()
        route(stream, self._header, b"".join(self._held))
        if self._finished:
            stream.handler.eof_received()
