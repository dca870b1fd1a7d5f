"""A small HTTP/1.1 upstream that says what it received."""

import asyncio
import json
from typing import Self


class HttpUpstream:
    """Answers each request with a JSON object of its path and body length, on 127.0.0.1 and a free port."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        """Connections that are open now."""

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        length = await self._body(reader, fields)
        body = json.dumps({"path": head[0].split(" ")[1], "length": length, "fields": fields}).encode()
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return fields.get("connection") != "close"

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> int:
        if fields.get("transfer-encoding") == "chunked":
            total = 0
            while size := int(await reader.readline(), 16):
                total += len(await reader.readexactly(size))
                await reader.readline()
            await reader.readline()
            return total
        return len(await reader.readexactly(int(fields.get("content-length", 0))))
