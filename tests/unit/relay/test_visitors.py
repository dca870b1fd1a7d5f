"""A visitor's end, beside an upstream that has ended before."""

import asyncio
from pathlib import Path

import pytest

from portico.model.errors import ErrorCode
from portico.relay import visitors
from portico.relay.figures import Figures
from portico.relay.link import BindLease
from portico.relay.visitors import Visitor
from portico.tunnel.frames import ErrorCode as StreamError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import ProxyInfo

REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
BODY = bytes(range(256)) * 8192
"""More than a Unix socket takes at once."""


class Stream:
    """A carriage whose other end is the test."""

    def __init__(self, handler: StreamHandler) -> None:
        self.handler = handler
        self.asked = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Part of a request, or all of it."""
        self.asked.set()

    def write_eof(self) -> None:
        """To nobody."""

    def pause_reading(self) -> None:
        """What is on its way still comes."""

    def resume_reading(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """It is over."""


class Streams:
    """Carries visitors to the test."""

    figures = Figures()
    mark = "mark"
    alive = True

    def __init__(self) -> None:
        self.opened: asyncio.Queue[Stream] = asyncio.Queue()

    def open_proxy(self, lease: BindLease, address: ProxyInfo, first: bytes, handler: StreamHandler) -> Stream:
        stream = Stream(handler)
        if first:
            stream.write(first)
        self.opened.put_nowait(stream)
        return stream

    def unseen(self, carriage: object) -> bool:
        return False

    def failure(self, bind: str) -> tuple[ErrorCode, str] | None:
        return None


@pytest.mark.parametrize("code", [None, StreamError.CANCELLED])
@pytest.mark.parametrize("http", [0, 1, 2])
async def test_a_visitor_who_pauses_gets_all_that_came_before_the_end(
    http: int, code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "LINGER_SECONDS", 0.01)
    lease = BindLease(session="s", bind="b", address="", proto="http", url="", http=http, lease={})
    carrier, peers = Streams(), set[Visitor]()
    path = str(tmp_path / "bind")
    server = await asyncio.get_running_loop().create_unix_server(lambda: Visitor(lease, carrier, peers), path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(REQUEST)
    stream = await carrier.opened.get()
    await stream.asked.wait()
    handler = stream.handler
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    handler.data_received(HEAD + BODY)
    if code is None:
        handler.eof_received()
    handler.connection_lost(code)
    await asyncio.sleep(0.1)
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    assert await reader.read() == HEAD + BODY
    writer.close()
    async with asyncio.timeout(30):
        while peers:
            await asyncio.sleep(0.01)
    server.close()
