"""The edge's end of agent sessions, made of the tunnel package's server side; tests script what it does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portico.agent.temporary_pem import load_key_pair
from portico.certificates.authority import Authority
from portico.model.errors import AUTHTOKEN_UNKNOWN, SESSION_CLOSED, PorticoError
from portico.tunnel import rpc
from portico.tunnel.flow import WIDE
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, StreamKind
from portico.tunnel.session import Session
from portico.tunnel.transport import SessionProtocol, Stream

TOKEN = "tok_test"


PATIENCE = 30.0


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition()` is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


class Visitor(StreamHandler):
    """A visitor's side of a proxy stream."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.received = bytearray()
        self.finished = False
        self.over = False
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self.finished = True
        self.changed.set()

    def connection_lost(self, code: int | None) -> None:
        self.over = True
        self.changed.set()

    def send(self, data: bytes) -> None:
        """From the visitor to the upstream."""
        assert self.stream is not None
        self.stream.write(data)

    def finish(self) -> None:
        """The visitor sends no more."""
        assert self.stream is not None
        self.stream.write_eof()

    async def until(self, condition: Callable[["Visitor"], bool]) -> bytes:
        """Wait for a state; what was received by then."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()
        return bytes(self.received)

    async def end(self) -> bytes:
        """All that comes until the upstream's direction ends."""
        return await self.until(lambda visitor: visitor.finished or visitor.over)


class _Connection(asyncio.BufferedProtocol):
    """A session's connection that can be frozen."""

    def __init__(self, server: "AgentServer", session: SessionProtocol) -> None:
        self._server = server
        self._session = session
        self.connection_made = session.connection_made  # type: ignore[method-assign]
        self.connection_lost = session.connection_lost  # type: ignore[method-assign]
        self.pause_writing = session.pause_writing  # type: ignore[method-assign]
        self.resume_writing = session.resume_writing  # type: ignore[method-assign]
        self.get_buffer = session.get_buffer  # type: ignore[method-assign]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._server.frozen:
            self._session.buffer_updated(nbytes)


@dataclass
class AgentServer:
    """Accepts sessions with `TOKEN` and binds with any name; keeps all that was asked."""

    authority: Authority
    address: str = ""
    auths: list[dict[str, Any]] = field(default_factory=list)
    binds: list[dict[str, Any]] = field(default_factory=list)
    unbinds: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[SessionProtocol] = field(default_factory=list)
    refuse_bind: PorticoError | None = None
    refuse_auth: PorticoError | None = None
    leg_token: str = ""
    """What lets further connections join; empty takes none."""
    joined: list[dict[str, Any]] = field(default_factory=list)
    join_held: asyncio.Event | None = None
    """What the answers to those who join wait for, but for those who take over."""
    frozen: bool = False
    """Whether new and old sessions are neither read nor answered (a half-dead link)."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _listening: asyncio.Server | None = None
    _context: ssl.SSLContext | None = None

    @property
    def ca(self) -> str:
        """PEM that agents must trust."""
        return self.authority.pem

    @property
    def session(self) -> SessionProtocol:
        """The newest session."""
        return self.sessions[-1]

    async def listen(self, port: int = 0) -> None:
        """Begin, or begin again on the same port."""
        if self._context is None:
            pair, _ = self.authority.issue(["localhost", "127.0.0.1"], datetime.now(UTC))
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            load_key_pair(self._context, pair)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._accept, "127.0.0.1", port, ssl=self._context)
        self.address = f"localhost:{self._listening.sockets[0].getsockname()[1]}"

    async def stop_listening(self) -> None:
        """Refuse connections; those that are there stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def close(self) -> None:
        """Refuse and cut."""
        await self.stop_listening()
        for session in self.sessions:
            session.abort("the test is over")

    async def until(self, condition: Callable[["AgentServer"], object]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    def visit(
        self,
        bind: str,
        *first: bytes,
        proto: str = "https",
        address: str = "192.0.2.7:5151",
        by: SessionProtocol | None = None,
    ) -> Visitor:
        """A visitor connects to `bind` and sends `first`, through the newest session or another."""
        visitor = Visitor()
        header = ProxyHeader(id=bind, client_addr=address, proto=proto)
        visitor.stream = (by or self.session).open(StreamKind.PROXY, visitor, header.encode() + b"".join(first))
        return visitor

    def _accept(self) -> "_Connection":
        session = SessionProtocol(
            Session(client=False, now=asyncio.get_running_loop().time()), self._on_stream, self._ended
        )
        self.sessions.append(session)
        return _Connection(self, session)

    def _ended(self, _: str) -> None:
        self.changed.set()

    def _on_stream(self, stream: Stream) -> StreamHandler | None:
        answers: dict[int, rpc.Answer] = {
            StreamKind.AUTH: self._auth,
            StreamKind.BIND: self._bind,
            StreamKind.START_TUNNEL_WITH_LABEL: self._label,
            StreamKind.UNBIND: self._unbind,
            StreamKind.UPSTREAM_FAILED: self._failed,
            StreamKind.JOIN: self._join,
        }
        answer = answers.get(stream.kind)
        return rpc.Answering(stream, answer) if answer else None

    async def _auth(self, body: dict[str, Any]) -> rpc.Message:
        self.auths.append(body)
        self.changed.set()
        refusal = self.refuse_auth
        if body["Extra"]["AuthToken"] != TOKEN:
            refusal = PorticoError(AUTHTOKEN_UNKNOWN, "the authtoken is not known to this edge")
        if refusal is not None:
            return {"Version": "3", "ClientId": "", "Error": refusal.protocol_text()}
        number = len(self.auths)
        extra = {"Version": "test", "Region": "here", "Cookie": f"cookie-{number}", "AgentSessionID": f"ts_{number}"}
        legs = {"Window": WIDE.window, "LegToken": self.leg_token} if self.leg_token else {}
        return {"Version": "3", "ClientId": body["ClientId"] or "client-1", "Error": "", "Extra": extra | legs}

    async def _join(self, body: dict[str, Any]) -> rpc.Message:
        self.joined.append(body)
        self.changed.set()
        if self.join_held is not None and not body["TakeOver"]:
            await self.join_held.wait()
        known = body["Token"] == self.leg_token
        return {"Error": "" if known else PorticoError(SESSION_CLOSED, "no such session").protocol_text()}

    async def _bind(self, body: dict[str, Any]) -> rpc.Message:
        self.binds.append(body)
        self.changed.set()
        if self.refuse_bind is not None:
            return {"Error": self.refuse_bind.protocol_text()}
        number = len(self.binds)
        opts = body["Opts"]
        url = opts.get("URL") or f"{body['Proto']}://random-{number}.localhost"
        return {
            "Id": body["Id"] or f"bind-{number}",
            "URL": url,
            "Proto": body["Proto"],
            "Opts": {**opts, "URL": url},
            "Error": "",
            "Extra": {"Token": body["Extra"]["Token"] or f"bind-token-{number}", "TunnelID": f"tn_{number}"},
        }

    async def _label(self, body: dict[str, Any]) -> rpc.Message:
        self.binds.append(body)
        return {"Id": f"labelled-{len(self.binds)}", "Error": ""}

    async def _unbind(self, body: dict[str, Any]) -> rpc.Message:
        self.unbinds.append(body)
        self.changed.set()
        return {"Error": "", "Extra": None}

    async def _failed(self, body: dict[str, Any]) -> None:
        self.failures.append(body)
        self.changed.set()


@asynccontextmanager
async def agent_server() -> AsyncIterator[AgentServer]:
    """A server that listens."""
    server = AgentServer(Authority.create(datetime.now(UTC)))
    await server.listen()
    try:
        yield server
    finally:
        await server.close()


def write_ca(server: AgentServer, directory: Path) -> str:
    """The CA in a file, for `connect_cas`."""
    path = directory / "ca.pem"
    path.write_text(server.ca)
    return str(path)
