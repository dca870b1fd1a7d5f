"""Proxies between an agent and its edge: HTTP CONNECT and SOCKS5, both with a password where one is wanted."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """What it was asked for."""

    credentials: tuple[str, str] | None = None
    port: int = 0
    targets: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            target = await (self._socks5(reader, writer) if first == b"\x05" else self._connect(reader, writer))
            if target is not None:
                self.targets.append(f"{target[0]}:{target[1]}")
                onward = await asyncio.open_connection(*target)
                await asyncio.gather(_copy(reader, onward[1]), _copy(onward[0], writer))
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if self.credentials is not None:
            wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
            if f"Basic {wanted}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = head.split(" ")[1].rpartition(":")
        return host, int(port)

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        """RFC 1928, and RFC 1929 for the password."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02" if self.credentials else b"\x05\x00")
        if self.credentials is not None:
            await reader.readexactly(1)
            said = tuple([(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)])
            writer.write(b"\x01\x00" if said == self.credentials else b"\x01\x01")
            if said != self.credentials:
                return None
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return host, port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy(credentials: tuple[str, str] | None = None) -> AsyncIterator[Proxy]:
    """One that speaks both languages on the same port."""
    made = Proxy(credentials)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
