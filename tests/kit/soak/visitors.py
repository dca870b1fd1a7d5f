"""The visitors' side of a transfer: what is sent, what is checked, and how it goes wrong on purpose."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from kit.soak.content import PIECE, Check, Content, WrongBytesError
from kit.soak.exchange import NUMBER_SIZE, RECEIPT_SIZE, number_of, receipt, reset
from kit.soak.framing import BodyWriter, TruncatedError, http_body, read_head
from kit.soak.http2 import Http2Request, context_like
from kit.soak.plan import Manner, Wish
from kit.soak.service import WISH_FIELD

SMALL_BUFFER = 0x4000
SLOW_PIECE, SLOW_PAUSE = 0x4000, 0.03
STALLS = (2.0, 4.0)
"""Seconds; Envoy waits 5 s for a visitor who takes nothing of an answer that ends its connection."""
VISIBLE = (OSError, EOFError, TruncatedError, httpx.HTTPError, WebSocketException)
"""How a visitor sees that a transfer failed (ssl.SSLError is an OSError)."""


class RefusedError(OSError):
    """An answer that is not the service's, such as the edge's own page."""


@dataclass(frozen=True)
class Endpoint:
    """A public address, and who serves it."""

    name: str
    agent: str
    protocol: str
    host: str
    port: int
    context: ssl.SSLContext | None
    receipts: int
    """The service's own HTTP port, with no tunnel between."""


class Answer:
    """Checks an answer as it comes."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._head = b""
        self._tail = b""
        self.body = Check(Content(wish.number, "down"), wish.down)

    def feed(self, data: bytes) -> None:
        """Some more bytes. Raises WrongBytesError."""
        missing = NUMBER_SIZE - len(self._head)
        self._head += data[:missing]
        if self._head != number_of(self._wish)[: len(self._head)]:
            raise WrongBytesError(f"somebody else's answer: {self._head!r}")
        rest = data[missing:]
        body = self.body.size - self.body.received
        self.body.feed(rest[:body])
        self._tail += rest[body:]
        if not receipt(self._wish.up).startswith(self._tail):
            raise WrongBytesError(f"a wrong receipt: {self._tail!r}")

    def ended(self, *, receipt_is_due: bool = True) -> None:
        """No more will come, in order. Raises TruncatedError."""
        if not self.body.complete or (receipt_is_due and len(self._tail) < RECEIPT_SIZE):
            raise TruncatedError(f"an orderly end after {self.body.received} of {self.body.size} bytes")


async def carry_out(wish: Wish, endpoint: Endpoint) -> None:
    """Returns when all was exact and complete, or failed as wished. Raises one of VISIBLE, or WrongBytesError."""
    try:
        if wish.manner is Manner.HTTP2:
            await _http2(wish, endpoint)
        elif wish.manner is Manner.WEBSOCKET:
            await _websocket(wish, endpoint)
        else:
            await _bytes(wish, endpoint)
    except VISIBLE:
        if wish.manner is not Manner.SERVICE_CUTS:
            raise
    else:
        if wish.manner is Manner.SERVICE_CUTS:
            raise WrongBytesError("an answer that was cut looks complete")


@contextlib.asynccontextmanager
async def _connected(
    endpoint: Endpoint, wish: Wish
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    plain = _dial(endpoint, small=wish.manner in (Manner.SLOW_READER, Manner.STALLED_READER))
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", endpoint.port))
    name = endpoint.host if endpoint.context else None
    reader, writer = await asyncio.open_connection(sock=plain, ssl=endpoint.context, server_hostname=name)
    try:
        yield reader, writer
        writer.close()
    finally:
        # What went wrong must not go on by itself.
        writer.transport.abort() if not writer.is_closing() else None


def _dial(endpoint: Endpoint, *, small: bool) -> socket.socket:
    plain = socket.socket()
    plain.setblocking(False)
    if small:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    return plain


async def _bytes(wish: Wish, endpoint: Endpoint) -> None:
    """HTTP/1.1, or bytes on a connection."""
    http = endpoint.protocol == "http"
    async with _connected(endpoint, wish) as (reader, writer):
        writer.write(_request(wish, endpoint) if http else wish.encode().encode() + b"\n")
        if wish.manner is Manner.SERVICE_HALF_CLOSES:
            await _receive(wish, _until_eof(reader))
            await _send(wish, writer, in_chunks=False)
            await _closed(writer)
            await _arrived(wish, endpoint)
            return
        async with _meanwhile(_send(wish, writer, in_chunks=http and wish.chunked)) as sending:
            body = await _http_answer(wish, reader) if http else _until_eof(reader)
            if await _receive(wish, body):
                await sending
            else:
                reset(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def _request(wish: Wish, endpoint: Endpoint) -> bytes:
    framing = "transfer-encoding: chunked" if wish.chunked else f"content-length: {wish.up}"
    host = f"host: {endpoint.host}:{endpoint.port}"
    return f"POST /{wish.number} HTTP/1.1\r\n{host}\r\n{WISH_FIELD}: {wish.encode()}\r\n{framing}\r\n\r\n".encode()


async def _http_answer(wish: Wish, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    status, fields = await read_head(reader)
    _own(wish, int(status.split(" ")[1]), fields)
    return http_body(reader, fields)


def _own(wish: Wish, status: int, fields: dict[str, str]) -> None:
    if status != 200 or "x-number" not in fields:
        raise RefusedError(f"{status} {fields.get('portico-error-code', '')}".strip())
    if fields["x-number"] != str(wish.number):
        raise WrongBytesError(f"somebody else's answer: {fields['x-number']}")


async def _until_eof(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(PIECE):
        yield data


async def _send(wish: Wish, writer: asyncio.StreamWriter, *, in_chunks: bool) -> None:
    sink = BodyWriter(writer, in_chunks=in_chunks)
    for data in _pieces(wish):
        await sink.write(data)
    await sink.end()
    if wish.manner is Manner.VISITOR_HALF_CLOSES:
        writer.write_eof()


def _pieces(wish: Wish) -> "list[bytes]":
    content = Content(wish.number, "up")
    return [content.at(begin, min(PIECE, wish.up - begin)) for begin in range(0, wish.up, PIECE)]


async def _receive(wish: Wish, body: AsyncIterator[bytes]) -> bool:
    """Take the answer; False where the visitor is to reset now."""
    answer, stalled = Answer(wish), False
    async for data in body:
        answer.feed(data)
        if wish.manner is Manner.SLOW_READER:
            for _ in range(0, len(data), SLOW_PIECE):
                await asyncio.sleep(SLOW_PAUSE)
        elif wish.manner is Manner.VISITOR_RESETS and answer.body.received >= wish.stop:
            return False
        elif wish.manner is Manner.STALLED_READER and not stalled and answer.body.received >= wish.stop:
            stalled = True
            await asyncio.sleep(random.Random(wish.number).uniform(*STALLS))
    answer.ended(receipt_is_due=wish.manner is not Manner.SERVICE_HALF_CLOSES)
    return True


async def _arrived(wish: Wish, endpoint: Endpoint) -> None:
    """Ask the service itself. Raises TruncatedError where it has not got everything after a while."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(100):
            said = await client.get(f"http://127.0.0.1:{endpoint.receipts}/receipt/{wish.number}")
            if said.text == "1":
                return
            await asyncio.sleep(0.1)
    raise TruncatedError("what was sent after the service's end of file did not arrive")


async def _http2(wish: Wish, endpoint: Endpoint) -> None:
    assert endpoint.context is not None
    over = replace(endpoint, context=context_like(endpoint.context))
    headers = [
        (":method", "POST"), (":scheme", "https"), (":authority", f"{endpoint.host}:{endpoint.port}"),
        (":path", f"/{wish.number}"), (WISH_FIELD, wish.encode()),
    ]  # fmt: skip
    if not wish.chunked:
        headers.append(("content-length", str(wish.up)))
    async with _connected(over, wish) as (reader, writer):
        request = Http2Request(reader, writer)
        async with _meanwhile(request.send(headers, _pieces(wish))) as sending:
            body = request.answer()
            await anext(body)
            _own(wish, request.status, request.fields)
            await _receive(wish, body)
            await sending


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[None, None, None]) -> "AsyncIterator[asyncio.Task[None]]":
    """A task beside; it ends with the block, which alone tells how things went."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *VISIBLE):
            await task


async def _websocket(wish: Wish, endpoint: Endpoint) -> None:
    """Messages of many sizes, each comes back."""
    plain = _dial(endpoint, small=False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", endpoint.port))
    chance, check = random.Random(wish.number), Check(Content(wish.number, "up"), wish.up)
    async with connect(
        f"wss://{endpoint.host}:{endpoint.port}/{wish.number}", sock=plain, ssl=endpoint.context,
        server_hostname=endpoint.host, compression=None, max_size=None, ping_interval=None, proxy=None,
    ) as socket_:  # fmt: skip

        async def talk() -> None:
            sent, content = 0, Content(wish.number, "up")
            while sent < wish.up:
                size = min(chance.choice((1, 100, 5_000, PIECE)), wish.up - sent)
                await socket_.send(content.at(sent, size))
                sent += size

        async with _meanwhile(talk()) as talking:
            while not check.complete:
                message = await socket_.recv()
                check.feed(message if isinstance(message, bytes) else message.encode())
            await talking


def probe(number: int) -> Wish:
    """A small transfer that tells whether an endpoint serves."""
    return Wish(number, Manner.PLAIN, 100, 1000, 0, chunked=False)
