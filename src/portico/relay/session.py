"""One agent's session: its requests go to control, its binds become sockets, visitors become its streams."""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from portico.model.errors import (
    EDGE_BUSY,
    SESSION_CLOSED,
    STREAM_LIMIT,
    TOO_MANY_ENDPOINTS,
    UPSTREAM_UNREACHABLE,
    ErrorCode,
    PorticoError,
    all_codes,
)
from portico.relay import limits, link
from portico.relay.binds import Bind, SocketPaths
from portico.relay.carriage import Carriage
from portico.relay.figures import Figures
from portico.relay.legs import Legs
from portico.relay.link_client import LinkClient, Question
from portico.tunnel import frames, messages, rpc
from portico.tunnel.events import Event, HeartbeatEchoed, PeerUnresponsive
from portico.tunnel.flow import WIDE
from portico.tunnel.frames import ProtocolError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import StreamKind
from portico.tunnel.proxy_protocol import ProxyInfo
from portico.tunnel.session import Session
from portico.tunnel.transport import SessionProtocol, Stream

log = logging.getLogger(__name__)

COMMANDS: Final = {"stop": StreamKind.STOP, "restart": StreamKind.RESTART, "update": StreamKind.UPDATE}
_STALL_SECONDS: Final = 0.25
"""What arrived while this process itself was held up gets this long to be read before an agent counts as silent."""
_FAILURE_SECONDS: Final = 5.0
"""How long what an agent said of its upstream explains a stream that ends without an answer."""
_REASON_CHARACTERS: Final = 500
_VISITOR_CODES: Final = {code.number: code for code in all_codes() if code.status in (502, 504)}

UNKNOWN_ADDRESS: Final = "0.0.0.0:0"
"""What SDKs can parse where the visitor's address is in a header of the request."""

Body = dict[str, object]


@dataclass(slots=True)
class Surroundings:
    """What all sessions of a relay share."""

    link: LinkClient
    paths: SocketPaths
    figures: Figures
    mark: str
    sessions: dict[str, "HeldSession"] = field(default_factory=dict)
    """The authenticated ones, by id."""
    joinable: dict[str, "AgentSession"] = field(default_factory=dict)
    """Those whose agents may add connections, by the token for it."""

    def session_of(self, token: str) -> "AgentSession":
        """Raises PorticoError(SESSION_CLOSED)."""
        session = self.joinable.get(token)
        if session is None:
            raise PorticoError(SESSION_CLOSED, "this relay has no such session")
        return session


class HeldSession(Protocol):
    """What a relay does with a session, whatever carries it."""

    lease: link.SessionLease | None
    binds: dict[str, Bind]

    def is_idle(self) -> bool:
        """Whether no visitor would notice the session's end."""

    def close(self, reason: str) -> None:
        """End the session: its sockets are gone when this returns."""

    def stop_bind(self, order: link.StopBind) -> None:
        """Stop serving a bind and say so to the other side."""

    async def command(self, name: str, body: Body) -> str:
        """Send Stop, Restart or Update; returns the agent's error, empty on success."""


class AgentSession:
    """Serves one agent from its first frame to the end of its connection. Also the `Carrier` of its visitors."""

    def __init__(self, around: Surroundings, remote: str, left: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.id = secrets.token_hex(16)
        self.lease: link.SessionLease | None = None
        self.binds: dict[str, Bind] = {}
        self.figures = around.figures
        self.mark = around.mark
        session = Session(client=False, now=time.monotonic())
        session.finish_before_reset = True
        self.protocol = first = SessionProtocol(
            session, self._stream_opened, self._ended, lambda event: self._happened(first, event)
        )
        self._around = around
        self._remote = remote
        self._left = left
        self.legs = Legs(self.protocol, self._leg_stream_opened)
        self._unseen: deque[tuple[SessionProtocol, int]] = deque(maxlen=limits.UNSEEN)
        """Streams that are about to end, none of whose bytes the upstream has got."""
        self._asked = False
        self._binding = 0
        self._moved = 0
        self._replaced = False
        self._moving = asyncio.Lock()
        self._deadline = loop.call_later(limits.AUTH_SECONDS, self.protocol.abort, "no Auth in time")
        self._first_requests: dict[int, rpc.Answer] = {
            StreamKind.AUTH: self._authenticate,
            StreamKind.JOIN: self._join,
        }
        self._requests: dict[int, rpc.Answer] = {
            StreamKind.BIND: partial(self._bind, labelled=False),
            StreamKind.START_TUNNEL_WITH_LABEL: partial(self._bind, labelled=True),
            StreamKind.UNBIND: self._unbind,
            StreamKind.PATCH_TUNNEL_STATE: self._patch,
            StreamKind.SRV_INFO: self._server_info,
        }

    # For visitors.

    @property
    def alive(self) -> bool:
        """Whether the session still carries streams."""
        return self.protocol.is_open

    def open_proxy(self, lease: link.BindLease, address: ProxyInfo, first: bytes, handler: StreamHandler) -> Stream:
        """A new proxy stream; its header and `first` leave in one frame.

        Raises PorticoError(STREAM_LIMIT or SESSION_CLOSED).
        """
        header = messages.ProxyHeader(
            id=lease.bind,
            client_addr=address.client_addr() or UNKNOWN_ADDRESS,
            proto=lease.proto,
            edge_type=lease.edge_type,
            passthrough_tls=lease.passthrough_tls,
        ).encode()
        if lease.proxy_protocol:
            header += address.encode(lease.proxy_protocol)
        stream = self.legs.least_loaded().open(StreamKind.PROXY, handler, header + first)
        self.figures.streams += 1
        self.figures.streams_opened_total += 1
        return stream

    def unseen(self, carriage: Carriage) -> bool:
        """Whether the agent has just said that the upstream saw nothing of what was sent here; asked once."""
        if not isinstance(carriage, Stream) or (place := (carriage.protocol, carriage.id)) not in self._unseen:
            return False
        self._unseen.remove(place)
        return True

    def failure(self, bind: str) -> tuple[ErrorCode, str] | None:
        """What the agent has just said about a failure of the bind's upstream, if anything."""
        served = self.binds.get(bind)
        if served is None or time.monotonic() - served.failed_at > _FAILURE_SECONDS:
            return None
        return served.failure

    # For control.

    def is_idle(self) -> bool:
        """Whether no visitor would notice the session's end (asked for repeatedly: nothing may have moved since)."""
        moved = self.legs.moved
        at_rest, self._moved = moved == self._moved, moved
        visitors = [visitor for bind in self.binds.values() for visitor in bind.visitors]
        return not visitors or (at_rest and not any(visitor.waiting for visitor in visitors))

    def close(self, reason: str) -> None:
        """End the session: its sockets are gone when this returns."""
        self._free()
        if reason == link.REPLACED:
            self._replaced = True
            self.protocol.abort(reason)
        else:
            # GOAWAY alone wedges ngrok's Go SDK, so the connection is closed with it.
            self.protocol.close(frames.ErrorCode.NONE, reason)

    def stop_bind(self, order: link.StopBind) -> None:
        """Stop serving a bind and say so to the agent, which may not answer."""
        bind = self.binds.pop(order.bind, None)
        if bind is not None:
            self.figures.binds -= 1
            bind.close()
            bind.cut()
        ended = messages.StopTunnel(id=order.bind, message=order.message, error_code=order.error_code)
        try:
            rpc.tell(self.protocol, StreamKind.STOP_TUNNEL, ended.to_json())
        except PorticoError as error:
            log.warning("a bind's end could not be told", extra={"session": self.id, "reason": error.message})

    async def command(self, name: str, body: Body) -> str:
        """Send Stop, Restart or Update; returns the agent's error, empty on success."""
        kind = COMMANDS.get(name)
        if kind is None:
            return f"agents know no command {name!r}"
        return await self._order(kind, body, limits.COMMAND_SECONDS)

    async def _order(self, kind: int, body: Body, seconds: float) -> str:
        try:
            answer = await rpc.request(self.protocol, kind, body, seconds)
            return messages.ErrorResp.from_json(answer).error
        except TimeoutError:
            return "The agent gave no answer."
        except (ProtocolError, PorticoError) as error:
            return error.message

    # Another way.

    async def move(self) -> None:
        """Have the agent come by another way, and serve it from there; streams end where they are."""
        async with self._moving:
            error = await self._order(StreamKind.MOVE, {}, limits.MOVE_SECONDS)
            # What the agent opened on the old connections has come before its answer.
            self.legs.retire()
        log.info("session moved", extra={"session": self.id, **({"error": error} if error else {})})

    def continue_on(self, protocol: SessionProtocol) -> None:
        """Let requests and new visitors go to `protocol`. Raises PorticoError(STREAM_LIMIT) unless `move` asked."""
        if not self._moving.locked():
            raise PorticoError(STREAM_LIMIT, "nobody asked this session to move")
        former, self.protocol = self.protocol, protocol
        former.give(self._stream_opened, lambda _: self.legs.remove(former))
        protocol.give(self._stream_opened, self._ended)
        self.legs.take_over(protocol)

    # Requests of the agent.

    def _stream_opened(self, stream: Stream) -> StreamHandler | None:
        if not self._asked and (first := self._first_requests.get(stream.kind)) is not None:
            self._asked = True
            return rpc.Answering(stream, partial(self._answer, first))
        if self.lease is None:
            return None
        answer = self._requests.get(stream.kind)
        if answer is None:
            return self._leg_stream_opened(stream)
        return rpc.Answering(stream, partial(self._answer, answer))

    def _leg_stream_opened(self, stream: Stream) -> StreamHandler | None:
        if stream.kind != StreamKind.UPSTREAM_FAILED:
            return None
        return rpc.Hearing(stream, partial(self._upstream_failed, stream.protocol))

    async def _answer(self, request: rpc.Answer, body: Body) -> rpc.Message | None:
        """A request that cannot be understood gets an error: a reset stream would hang ngrok's Rust SDKs."""
        try:
            return await request(body)
        except ProtocolError as error:
            return {"Error": error.message}

    async def _authenticate(self, body: Body) -> Body:
        self._deadline.cancel()
        self._left()
        extra = messages.Auth.from_json(body).extra
        agent = extra.user_agent
        if "ngrok-rust" in agent:
            # Envoy holds the agent's socket, so no TCP_QUICKACK can be set against the Nagle algorithm of these SDKs.
            self.protocol.session.prompt_ack = True
            self.protocol.session.max_own_streams = limits.RUST_STREAMS
        else:
            self.protocol.session.max_own_streams = limits.STREAMS
        ask = link.Authenticate(id=self._around.link.next_id(), session=self.id, remote=self._remote, body=body)
        reply = await self._ask(ask)
        if reply.session is None:
            self.figures.sessions_refused_total += 1
            self._deadline = asyncio.get_running_loop().call_later(
                limits.AUTH_SECONDS, self.protocol.abort, "the Auth was refused"
            )
        elif self.alive:
            self._begin(reply.session, agent)
            if extra.window == WIDE.window:
                self._widen(reply.body)
        else:
            self._around.link.tell(link.SessionEnded(session=self.id, reason="left during its Auth"))
        return reply.body

    def _begin(self, lease: link.SessionLease, agent: str) -> None:
        self.lease = lease
        self._around.sessions[self.id] = self
        self.figures.sessions += 1
        self.figures.sessions_opened_total += 1
        self._beat(lease)
        log.info("session online", extra={"session": self.id, "remote": self._remote, "agent": agent})

    def _widen(self, answer: Body) -> None:
        """Our own agent asked for it: streams opened after this answer, by either side, have a wide flow."""
        facts = answer.get("Extra")
        if isinstance(facts, dict):
            facts["Window"] = WIDE.window
            facts["LegToken"] = self.legs.token
            self.protocol.session.flow = WIDE
            self._around.joinable[self.legs.token] = self

    async def _join(self, body: Body) -> Body:
        """Become one more connection of a session that is here."""
        self._deadline.cancel()
        self._left()
        try:
            join = messages.Join.from_json(body)
            session = self._around.session_of(join.token)
            if join.take_over:
                session.continue_on(self.protocol)
            else:
                session.legs.add(self.protocol)
        except PorticoError as error:
            asyncio.get_running_loop().call_later(limits.AUTH_SECONDS, self.protocol.abort, error.message)
            return {"Error": error.protocol_text()}
        self.protocol.session.flow = WIDE
        self.protocol.session.max_own_streams = limits.STREAMS
        assert session.lease is not None
        self._beat(session.lease)
        return {"Error": ""}

    def _beat(self, lease: link.SessionLease) -> None:
        lowest, highest = limits.HEARTBEAT_SECONDS
        interval = min(max(lease.heartbeat_interval, lowest), highest)
        tolerance = min(max(lease.heartbeat_tolerance, lowest), highest)
        # Not before the answer to Auth is written: no SDK expects a stream earlier.
        asyncio.get_running_loop().call_soon(self.protocol.start_heartbeat, interval, tolerance)

    async def _bind(self, body: Body, *, labelled: bool) -> Body:
        if len(self.binds) + self._binding >= limits.BINDS:
            error = PorticoError(TOO_MANY_ENDPOINTS, f"A session can have {limits.BINDS} endpoints.")
            return {"Error": error.protocol_text()}
        self._binding += 1
        try:
            bind = Bind(self._around.paths.next())
        except OSError as failure:
            log.exception("a bind's socket could not be made", extra={"session": self.id})
            error = PorticoError(EDGE_BUSY, f"The edge cannot serve another endpoint: {failure.strerror}.")
            return {"Error": error.protocol_text()}
        finally:
            self._binding -= 1
        return await self._ask_for(bind, body, labelled=labelled)

    async def _ask_for(self, bind: Bind, body: Body, *, labelled: bool) -> Body:
        control = self._around.link
        self._binding += 1
        try:
            reply = await self._ask(
                link.Bind(id=control.next_id(), session=self.id, address=bind.path, labelled=labelled, body=body)
            )
            if reply.bind is not None:
                await bind.serve(reply.bind, self)
        finally:
            self._binding -= 1
        if reply.bind is None:
            bind.close()
        elif not self.alive or self.lease is None:
            bind.close()
            control.tell(link.Unbind(id=control.next_id(), session=self.id, bind=reply.bind.bind))
        else:
            self._hold(reply.bind.bind, bind)
        return reply.body

    def _hold(self, name: str, bind: Bind) -> None:
        former = self.binds.pop(name, None)
        if former is None:
            self.figures.binds += 1
        else:
            former.close()
        self.figures.binds_opened_total += 1
        self.binds[name] = bind

    async def _unbind(self, body: Body) -> Body:
        name = messages.Unbind.from_json(body).id
        control = self._around.link
        reply = await self._ask(link.Unbind(id=control.next_id(), session=self.id, bind=name))
        # Only now, so that Envoy has stopped to use the socket; visitors who are connected may finish.
        bind = self.binds.pop(name, None)
        if bind is not None:
            self.figures.binds -= 1
            bind.close()
        return reply.body

    async def _patch(self, body: Body) -> Body:
        reply = await self._ask(link.Patch(id=self._around.link.next_id(), session=self.id, body=body))
        if reply.bind is not None and (bind := self.binds.get(reply.bind.bind)) is not None:
            bind.lease = reply.bind
        return reply.body

    async def _server_info(self, _: Body) -> Body:
        question = link.ServerInfo(id=self._around.link.next_id(), session=self.id)
        return (await self._ask(question)).body

    def _upstream_failed(self, protocol: SessionProtocol, body: Body) -> None:
        failed = messages.UpstreamFailed.from_json(body)
        if failed.stream:
            self._unseen.append((protocol, failed.stream))
        bind = self.binds.get(failed.id)
        if bind is not None:
            code = _VISITOR_CODES.get(failed.code, UPSTREAM_UNREACHABLE)
            bind.failure = code, failed.reason[:_REASON_CHARACTERS]
            bind.failed_at = time.monotonic()

    async def _ask(self, question: Question) -> link.Reply:
        """Control's answer; where there is none, an error for the agent to try again (an RST would hang Rust SDKs)."""
        try:
            return await self._around.link.ask(question)
        except PorticoError as error:
            return link.Reply(id=question.id, body={"Error": error.protocol_text()})

    # What happens to the session.

    def _happened(self, protocol: SessionProtocol, event: Event) -> None:
        match event:
            case HeartbeatEchoed():
                self.figures.measure(event.latency)
            case PeerUnresponsive():
                loop = asyncio.get_running_loop()
                loop.call_later(_STALL_SECONDS, _check_silence, protocol, protocol.session.last_received)

    def _free(self) -> None:
        """Give up the sockets, the further connections and the place among the sessions, at once."""
        self._around.joinable.pop(self.legs.token, None)
        self.legs.close("the session is over")
        if self._around.sessions.pop(self.id, None) is not None:
            self.figures.sessions -= 1
        self.figures.binds -= len(self.binds)
        binds, self.binds = self.binds, {}
        for bind in binds.values():
            bind.close()

    def _ended(self, reason: str) -> None:
        self._deadline.cancel()
        if not self._asked:
            self._left()
        heartbeat = self.protocol.session.heartbeat
        if heartbeat is not None and heartbeat.lost(time.monotonic()):
            self.figures.heartbeats_missed_total += 1
        self._free()
        if self.lease is not None:
            log.info("session ended", extra={"session": self.id, "remote": self._remote, "reason": reason})
            if not self._replaced:
                self._around.link.tell(link.SessionEnded(session=self.id, reason=reason))


def _check_silence(protocol: SessionProtocol, last_received: float) -> None:
    if protocol.is_open and protocol.session.last_received == last_received:
        protocol.abort("the agent is silent since a stream was opened")
