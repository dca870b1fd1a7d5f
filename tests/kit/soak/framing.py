"""Bodies on a connection: bare, of a told length, or chunked (RFC 9112, section 7.1). Both sides of the soak use it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from kit.soak.content import PIECE

Read = Callable[[int], Awaitable[bytes]]
"""Some bytes, at most so many; none at the end."""


class TruncatedError(Exception):
    """The end came too early, and can be seen."""


async def counted(reader: asyncio.StreamReader, size: int, limit: int = PIECE) -> AsyncIterator[bytes]:
    """Exactly `size` bytes. Raises TruncatedError."""
    while size:
        data = await reader.read(min(size, limit))
        if not data:
            raise TruncatedError(f"the connection ended {size} bytes before its body")
        size -= len(data)
        yield data


async def chunked(reader: asyncio.StreamReader, limit: int = PIECE) -> AsyncIterator[bytes]:
    """Up to the last chunk. Raises TruncatedError."""
    while True:
        size = await _chunk_size(reader)
        async for data in counted(reader, size, limit):
            yield data
        if await reader.readline() != b"\r\n":
            raise TruncatedError("the connection ended within a chunk")
        if size == 0:
            return


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise TruncatedError("the connection ended before the last chunk")
    return int(line.partition(b";")[0], 16)


class BodyWriter:
    """Writes at the pace of the reader."""

    def __init__(self, writer: asyncio.StreamWriter, *, in_chunks: bool) -> None:
        self._writer = writer
        self._in_chunks = in_chunks

    async def write(self, data: bytes) -> None:
        if not data:
            return
        if self._writer.is_closing():  # `drain` alone may take a while to say so
            raise ConnectionResetError("the connection is gone")
        self._writer.write(b"%x\r\n%s\r\n" % (len(data), data) if self._in_chunks else data)
        await self._writer.drain()

    async def end(self) -> None:
        """The last chunk, where there are chunks."""
        if self._in_chunks:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """First line and fields of an HTTP/1.1 message. Raises TruncatedError."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError as error:
        raise TruncatedError(f"the connection ended within a head, after {error.partial[:40]!r}") from None
    return lines[0], {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}


def http_body(reader: asyncio.StreamReader, fields: dict[str, str], limit: int = PIECE) -> AsyncIterator[bytes]:
    """The body that the fields tell of."""
    if fields.get("transfer-encoding") == "chunked":
        return chunked(reader, limit)
    return counted(reader, int(fields.get("content-length", 0)), limit)
