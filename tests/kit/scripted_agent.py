"""An agent made of the tunnel package's client side, in which a test scripts what happens to each stream."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from portico.tunnel import messages, rpc
from portico.tunnel.events import Event
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import ProxyHeader, ProxyHeaderReader, StreamKind
from portico.tunnel.proxy_protocol import ProxyInfo
from portico.tunnel.session import Session
from portico.tunnel.splice import Splice
from portico.tunnel.transport import SessionProtocol, Stream

ADDRESS = ProxyInfo(("192.0.2.1", 40001), ("192.0.2.2", 443))
Serve = Callable[[Stream, ProxyHeader], StreamHandler]
"""Takes a proxy stream with its header, and returns the handler for the visitor's bytes."""


class Recorder(StreamHandler):
    """Remembers what a stream brought; `changed` is set at each event."""

    def __init__(self, stream: Stream, header: ProxyHeader) -> None:
        self.stream = stream
        self.header = header
        self.received = bytearray()
        self.finished = False
        self.lost: int | None = None
        self.over = False
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self.finished = True
        self.changed.set()

    def connection_lost(self, code: int | None) -> None:
        self.over, self.lost = True, code
        self.changed.set()

    async def until(self, condition: Callable[["Recorder"], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(30):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()


class _HeaderFirst(StreamHandler):
    """Reads the proxy header, then makes place for what `serve` chooses."""

    def __init__(self, stream: Stream, serve: Serve) -> None:
        self._stream = stream
        self._serve = serve
        self._reader = ProxyHeaderReader()

    def data_received(self, data: bytes) -> None:
        header = self._reader.feed(data)
        if header is None:
            return
        handler = self._serve(self._stream, header)
        self._stream.handler = handler
        if self._reader.rest:
            handler.data_received(self._reader.rest)


class ScriptedAgent:
    """One session. `streams` holds a Recorder of each proxy stream unless `serve` says otherwise."""

    def __init__(self) -> None:
        self.streams: list[Recorder] = []
        self.serve: Serve = self._record
        self.requests: list[tuple[int, dict[str, object]]] = []
        """What the relay asked: kind and body."""
        self.answer: dict[str, object] | None = {"Error": ""}
        self.obey: Callable[[dict[str, object]], Awaitable[dict[str, object]]] | None = None
        """Makes the answers in the place of `answer`."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.session = Session(client=True, now=asyncio.get_running_loop().time())
        self.protocol = SessionProtocol(self.session, self._opened, self._end, self._event)
        self.echoes = 0
        self._news = asyncio.Event()

    async def connect(self, path: Path, address: ProxyInfo = ADDRESS) -> "ScriptedAgent":
        """Arrive at a relay as Envoy would announce it."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, str(path))
        transport.write(address.encode(2))
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(transport)
        return self

    async def authenticate(self, client: str = "", agent: str = "portico-test/1") -> dict[str, object]:
        """Auth; beats every 10 s afterwards."""
        extra = {"AuthToken": "t", "UserAgent": agent, "HeartbeatInterval": 10**10, "HeartbeatTolerance": 10**10}
        body = {"Version": ["3", "2"], "ClientId": client, "Extra": extra}
        return await rpc.request(self.protocol, StreamKind.AUTH, body, 30)

    async def bind(self, proto: str = "https", **fields: object) -> dict[str, Any]:
        """Bind; returns the answer."""
        body = {"Id": "", "Proto": proto, "ForwardsTo": "", "Opts": {}, "Extra": {}, **fields}
        return await rpc.request(self.protocol, StreamKind.BIND, body, 30)

    async def ask(self, kind: int, **body: object) -> dict[str, Any]:
        """Any other request."""
        return await rpc.request(self.protocol, kind, body, 30)

    async def stream(self, number: int = 1) -> Recorder:
        """The `number`-th recorded proxy stream, waiting for it."""
        async with asyncio.timeout(30):
            while len(self.streams) < number:
                self._news.clear()
                await self._news.wait()
        return self.streams[number - 1]

    def forward_to(self, host: str, port: int) -> None:
        """Join each proxy stream with a connection to an upstream."""
        joined: set[asyncio.Task[Any]] = set()

        def serve(stream: Stream, header: ProxyHeader) -> StreamHandler:
            splice = Splice(stream)
            task = asyncio.get_running_loop().create_task(self._dial(splice, header.id, host, port))
            joined.add(task)
            task.add_done_callback(joined.discard)
            return stream.handler

        self.serve = serve

    async def _dial(self, splice: Splice, bind: str, host: str, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: splice, host, port)
        except OSError as error:
            failed = messages.UpstreamFailed(id=bind, code=8012, reason=str(error))
            rpc.tell(self.protocol, StreamKind.UPSTREAM_FAILED, failed.to_json())
            splice.stream.write_eof()

    def _record(self, stream: Stream, header: ProxyHeader) -> StreamHandler:
        recorder = Recorder(stream, header)
        self.streams.append(recorder)
        self._news.set()
        return recorder

    def _opened(self, stream: Stream) -> StreamHandler:
        if stream.kind == StreamKind.PROXY:
            return _HeaderFirst(stream, self.serve)

        async def answer(body: dict[str, object]) -> dict[str, object] | None:
            self.requests.append((stream.kind, body))
            self._news.set()
            return await self.obey(body) if self.obey else self.answer

        return rpc.Answering(stream, answer)

    def _event(self, event: Event) -> None:
        self.echoes += type(event).__name__ == "HeartbeatEchoed"

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
