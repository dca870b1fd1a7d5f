"""The upstream of the soak, as a process: HTTP/1.1 with WebSocket, plain TCP, and TCP in TLS.

    python -m kit.soak.service HTTP TCP TLS CERTIFICATE KEY

with the three ports. Prints a line when it serves. `GET /receipt/N` tells whether transfer N has arrived completely.
"""

import asyncio
import contextlib
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator

import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from kit.soak.content import WrongBytesError
from kit.soak.exchange import CutError, Exchange, answer_size, reset
from kit.soak.framing import BodyWriter, TruncatedError, counted, http_body, read_head
from kit.soak.plan import Manner, Wish

WISH_FIELD = "x-wish"
_ECHO = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class _Service:
    def __init__(self) -> None:
        self._received = deque[int](maxlen=10_000)

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with one request after another."""
        with _ending(writer):
            while not reader.at_eof():
                line, fields = await read_head(reader)
                path = line.split(" ")[1]
                if "upgrade" in fields:
                    await _echo(line, fields, reader, writer)
                    return
                if path.startswith("/receipt/"):
                    received = int(path.rpartition("/")[2]) in self._received
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % received)
                else:
                    await self._answer(fields, reader, writer)

    async def _answer(self, fields: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wish = Wish.decode(fields[WISH_FIELD])
        framing = "transfer-encoding: chunked" if wish.chunked else f"content-length: {answer_size(wish)}"
        writer.write(f"HTTP/1.1 200 OK\r\nx-number: {wish.number}\r\n{framing}\r\n\r\n".encode())
        await Exchange(wish, http_body(reader, fields), BodyWriter(writer, in_chunks=wish.chunked)).run()

    async def tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One transfer: the wish as a line, then its bytes."""
        with _ending(writer):
            line = await reader.readline()
            if not line.endswith(b"\n"):
                return
            wish = Wish.decode(line.decode())
            body = _until_eof(reader) if wish.manner is Manner.VISITOR_HALF_CLOSES else counted(reader, wish.up)
            exchange = Exchange(wish, body, BodyWriter(writer, in_chunks=False))
            if wish.manner is Manner.SERVICE_HALF_CLOSES:
                await exchange.send()
                writer.write_eof()
                await exchange.receive()
                self._received.append(wish.number)
            else:
                await exchange.run()


async def _until_eof(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(0x10000):
        yield data


@contextlib.contextmanager
def _ending(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Cut where bytes are missing or wished to be; close where all is well."""
    try:
        yield
        writer.close()
    except (CutError, TruncatedError, OSError):
        reset(writer)
    except WrongBytesError as error:
        print(f"wrong bytes: {error}", file=sys.stderr, flush=True)
        reset(writer)


async def _echo(line: str, fields: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A WebSocket that sends each frame back."""
    protocol = ServerProtocol(max_size=None)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    protocol.receive_data(f"{line}\r\n{head}\r\n".encode("latin-1"))
    while True:
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in _ECHO:
                protocol.send_binary(event.data, fin=event.fin)
        for data in protocol.data_to_send():
            writer.write(data)
            await writer.drain()
        if protocol.close_expected() or not (data := await reader.read(0x10000)):
            return
        protocol.receive_data(data)


async def _serve(http: str, tcp: str, tls: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    service = _Service()
    servers = [
        await asyncio.start_server(service.http, "127.0.0.1", int(http), backlog=512),
        await asyncio.start_server(service.tcp, "127.0.0.1", int(tcp), backlog=512),
        await asyncio.start_server(service.tcp, "127.0.0.1", int(tls), ssl=context, backlog=512),
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:6]))
