"""Sends a captured request to its upstream again; the inspector sees it like any other."""

import asyncio
from typing import Final, cast

from portico.agent.dial import Dialer
from portico.agent.http_observer import HttpObserver
from portico.agent.inspector import CapturedRequest, Inspector
from portico.tunnel.proxy_protocol import ProxyInfo

ANSWER_SECONDS: Final = 30.0
_BODY_FIELDS: Final = frozenset({"content-length", "transfer-encoding"})
ORIGINAL_FIELD: Final = "Portico-Replay-Original-Request-ID"


class _Replay(asyncio.Protocol):
    def __init__(self, request: bytes, observer: HttpObserver) -> None:
        self._request = request
        self._observer = observer
        self._transport: asyncio.Transport | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their class
        self._observer.from_visitor(self._request)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._observer.from_upstream(data)
        if self._observer.is_idle:
            self.end()

    def connection_lost(self, _: Exception | None) -> None:
        self.end()

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if not self.over.done():
            self._observer.closed()
            self.over.set_result(None)


async def replay(captured: CapturedRequest, dialer: Dialer, inspector: Inspector, proxy_protocol: int = 0) -> None:
    """Return when it is answered, or after ANSWER_SECONDS. Raises DialError."""
    observer = HttpObserver(inspector, captured.endpoint, captured.remote_address)
    request = _request(captured)
    preface = ProxyInfo().encode(proxy_protocol) if proxy_protocol else b""
    sent = await dialer.connect(lambda: _Replay(request, observer), preface)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await sent.over
    except TimeoutError:
        pass
    finally:
        sent.end()


def _request(captured: CapturedRequest) -> bytes:
    message = captured.request
    fields = [(name, value) for name, value in message.headers if name.lower() not in _BODY_FIELDS]
    fields.append((ORIGINAL_FIELD, captured.id))
    if message.body or len(fields) <= len(message.headers):
        fields.append(("Content-Length", str(len(message.body))))
    lines = [message.start_line, *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + bytes(message.body)
