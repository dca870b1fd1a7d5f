"""One connection to the edge: dial, TLS, Auth. A session lives through many of them."""

import asyncio
import platform
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final

from portico.agent.dial import open_socket
from portico.agent.dial_reason import DialError, DialReason, explain
from portico.agent.edge_address import Trust, check_proxy, edge_context
from portico.agent.edge_errors import edge_error
from portico.agent.hand_over import hand_over
from portico.agent.names import resolve
from portico.agent.settings import SessionSettings
from portico.model.errors import (
    AUTHTOKEN_UNKNOWN,
    CONNECT_FAILED,
    EDGE_UNTRUSTED,
    SESSION_CLOSED,
    ErrorCode,
    PorticoError,
)
from portico.model.value import Value
from portico.tunnel.events import Event
from portico.tunnel.flow import WIDE
from portico.tunnel.frames import ProtocolError
from portico.tunnel.messages import StreamKind
from portico.tunnel.rpc import Message, request
from portico.tunnel.session import Session
from portico.tunnel.transport import OnStream, SessionProtocol
from portico.version import __version__

PROTOCOL_VERSIONS: Final = ("3", "2")
PEER_STREAMS: Final = 8_192
"""Visitors at once, as many as a relay sends through one session."""
JOIN_ATTEMPTS: Final = 32
"""With eight relays the right one is missed so often once in seventy times."""
NOT_SUPPORTED: Final = "the agent has not defined a callback for this operation"
_UNTRUSTED: Final = frozenset(
    {DialReason.TLS_UNTRUSTED, DialReason.TLS_WRONG_NAME, DialReason.TLS_EXPIRED, DialReason.TLS_NOT_YET_VALID}
)


class Identity(Value, frozen=True):
    """What the edge knows a session by; sent back on each reconnect."""

    client_id: str = ""
    cookie: str = ""


class EdgeFacts(Value, frozen=True):
    """What the edge said of itself and of us."""

    version: str = ""
    region: str = ""
    account: str = ""
    plan: str = ""
    banner: str = ""
    session_id: str = ""


NO_FACTS: Final = EdgeFacts()


class EdgeLink:
    """An authenticated connection."""

    def __init__(self, protocol: SessionProtocol, ended: "asyncio.Future[str]", since: float) -> None:
        self.protocol = protocol
        self.ended = ended
        """The reason, once the connection is gone."""
        self.since = since
        self.leg_token = ""
        """Lets further connections join; empty where the edge takes none."""
        self.identity = Identity()
        self.facts = EdgeFacts()

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self.protocol.is_open and not self.ended.done()

    async def ask(self, kind: int, message: Message, timeout: float, refused: ErrorCode) -> dict[str, object]:
        """Send a request. Raises PorticoError: the edge's own where it refuses, else `CONNECT_FAILED`."""
        try:
            answer = await request(self.protocol, kind, message, timeout)
        except (ProtocolError, TimeoutError) as error:
            raise PorticoError(CONNECT_FAILED, f"the edge gave no answer: {error or 'timeout'}") from None
        text = answer.get("Error")
        if isinstance(text, str) and text:
            raise edge_error(text, refused)
        return answer


class Linker:
    """Makes the links of one session."""

    def __init__(
        self,
        settings: SessionSettings,
        on_stream: OnStream,
        on_event: Callable[[Event], None],
        commands: frozenset[str],
        trust: Trust | None = None,
    ) -> None:
        """`commands`: which of Stop, Restart and Update this agent obeys; `trust` is what the settings say of it.

        Raises PorticoError(CERTIFICATE_INVALID).
        """
        self._settings = settings
        self._on_stream = on_stream
        self._on_event = on_event
        self._commands = commands
        self._context = trust.context() if trust else edge_context(settings.connect_cas, settings.edge_ca_pem)
        if settings.proxy_url:
            check_proxy(settings.proxy_url)

    async def connect(self, identity: Identity) -> EdgeLink:
        """Dial and authenticate. Raises PorticoError(CONNECT_FAILED, EDGE_UNTRUSTED, or the edge's own)."""
        link = await self._reach()
        try:
            await self._authenticate(link, identity)
        except BaseException:
            link.protocol.abort("authentication failed")
            raise
        self._beat(link)
        return link

    async def join(self, session: EdgeLink, *, take_over: bool = False) -> EdgeLink:
        """Dial one more connection for the session of a link, or one in its place. Raises as `connect` does.

        Where an edge has several relays another one may be met, several times in a row.
        """
        attempts = 1
        while True:
            try:
                return await self._join(session, take_over)
            except PorticoError as error:
                if error.code is not SESSION_CLOSED or attempts == JOIN_ATTEMPTS or not session.is_open:
                    raise
            attempts += 1

    async def _join(self, session: EdgeLink, take_over: bool) -> EdgeLink:
        link = await self._reach()
        # Before the request: the relay's first visitor may come with its answer.
        link.protocol.session.flow = WIDE
        try:
            wish = {"Token": session.leg_token, "TakeOver": take_over}
            await link.ask(StreamKind.JOIN, wish, self._settings.connect_timeout, CONNECT_FAILED)
        except BaseException:
            link.protocol.abort("it could not join the session")
            raise
        link.leg_token, link.identity, link.facts = session.leg_token, session.identity, session.facts
        self._beat(link)
        return link

    async def _reach(self) -> EdgeLink:
        edge = self._settings.edge
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                return await self._dial()
        except DialError as error:
            raise PorticoError(CONNECT_FAILED, f"cannot reach the edge at {edge}: {error.text}") from None
        except (OSError, ssl.SSLError, TimeoutError) as error:
            reason, words = explain(error)
            code = EDGE_UNTRUSTED if reason in _UNTRUSTED else CONNECT_FAILED
            raise PorticoError(code, f"cannot reach the edge at {edge}: {words}") from error

    def _beat(self, link: EdgeLink) -> None:
        link.protocol.start_heartbeat(
            self._settings.heartbeat_interval, self._settings.heartbeat_tolerance, expect_beats=False
        )

    async def _dial(self) -> EdgeLink:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()

        def protocol() -> SessionProtocol:
            session = Session(client=True, now=loop.time(), max_peer_streams=PEER_STREAMS)
            return SessionProtocol(session, self._on_stream, _resolver(ended), self._on_event)

        _, made = await hand_over(await self._open(), protocol, self._context, self._settings.edge.host)
        return EdgeLink(made, ended, loop.time())

    async def _open(self) -> socket.socket:
        if self._settings.proxy_url:
            from portico.agent.proxy import open_through  # brings python-socks, which few agents need

            return await open_through(self._settings.proxy_url, self._settings.edge, self._settings.connect_timeout)
        failure: OSError | None = None
        for family, address in await resolve(self._settings.edge.host, self._settings.edge.port):
            try:
                return await open_socket(family, address)
            except OSError as error:
                failure = failure or error
        raise failure or OSError("the name has no address")

    async def _authenticate(self, link: EdgeLink, identity: Identity) -> None:
        timeout = self._settings.connect_timeout
        answer = await link.ask(StreamKind.AUTH, self._auth(identity), timeout, AUTHTOKEN_UNKNOWN)
        extra = answer.get("Extra")
        facts = extra if isinstance(extra, dict) else {}
        if facts.get("Window") == WIDE.window:
            link.protocol.session.flow = WIDE
            link.leg_token = _text(facts, "LegToken")
        link.identity = Identity(_text(answer, "ClientId"), _text(facts, "Cookie"))
        link.facts = EdgeFacts(
            version=_text(facts, "Version"),
            region=_text(facts, "Region"),
            account=_text(facts, "AccountName"),
            plan=_text(facts, "PlanName"),
            banner=_text(facts, "Banner"),
            session_id=_text(facts, "AgentSessionID"),
        )

    def _auth(self, identity: Identity) -> Message:
        settings = self._settings
        unsupported = {
            f"{command}UnsupportedError": "" if command in self._commands else NOT_SUPPORTED
            for command in ("Update", "Stop", "Restart")
        }
        return {
            "Version": list(PROTOCOL_VERSIONS),
            "ClientId": identity.client_id,
            "Extra": {
                "OS": sys.platform,
                "Arch": platform.machine(),
                "AuthToken": settings.authtoken,
                "Version": __version__,
                "Hostname": "",
                "UserAgent": f"{settings.program}/{__version__}",
                "Metadata": settings.metadata,
                "Cookie": identity.cookie,
                "HeartbeatInterval": _nanoseconds(settings.heartbeat_interval),
                "HeartbeatTolerance": _nanoseconds(settings.heartbeat_tolerance),
                **unsupported,
                "ProxyType": settings.proxy_url.partition("://")[0],
                "MutualTLS": False,
                "ServiceRun": False,
                "ConfigVersion": "",
                "CustomInterface": False,
                "CustomCAs": bool(settings.connect_cas or settings.edge_ca_pem),
                "ClientType": settings.program,
                "Window": WIDE.window,
            },
        }


def _resolver(ended: "asyncio.Future[str]") -> Callable[[str], None]:
    def resolve_once(reason: str) -> None:
        if not ended.done():
            ended.set_result(reason)

    return resolve_once


def _text(message: dict[str, object], key: str) -> str:
    value = message.get(key)
    return value if isinstance(value, str) else ""


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
