"""What the service does for one wish, and the words that both sides share.

An answer is the wish's number (8 bytes), the bytes of `down`, and a receipt (16 bytes) that tells how many bytes of
`up` arrived, each of them right: an answer that is complete says so by itself, and says whose it is.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from kit.soak.content import PIECE, Check, Content, WrongBytesError
from kit.soak.framing import BodyWriter, TruncatedError
from kit.soak.plan import Manner, Wish

STALL_SECONDS = 3.0
NUMBER_SIZE, RECEIPT_SIZE = 8, 16


def number_of(wish: Wish) -> bytes:
    """Whose answer it is."""
    return struct.pack("!Q", wish.number)


def receipt(received: int) -> bytes:
    """What ends an answer."""
    return struct.pack("!8sQ", b"received", received)


def answer_size(wish: Wish) -> int:
    """Bytes of a whole answer."""
    return NUMBER_SIZE + wish.down + RECEIPT_SIZE


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection: a zero linger time makes it a reset (socket(7))."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class CutError(Exception):
    """The service has cut the connection, as wished."""


class Exchange:
    """The service's side of one transfer."""

    def __init__(self, wish: Wish, body: AsyncIterator[bytes], sink: BodyWriter) -> None:
        self._wish = wish
        self._body = body
        self._sink = sink

    async def run(self) -> None:
        """Both directions at once. Raises CutError where it is to be cut, WrongBytesError, TruncatedError."""
        receiving = asyncio.create_task(self.receive())
        try:
            await self.send()
            await self._sink.write(receipt(await receiving))
            await self._sink.end()
        finally:
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError, TruncatedError, WrongBytesError, OSError):
                await receiving

    async def receive(self) -> int:
        """Take and check `up`; returns its size."""
        wish, stalled = self._wish, False
        check = Check(Content(wish.number, "up"), wish.up)
        async for data in self._body:
            check.feed(data)
            if wish.manner is Manner.STALLED_SERVICE and not stalled and check.received >= wish.stop:
                stalled = True
                await asyncio.sleep(STALL_SECONDS)
        if not check.complete:
            raise TruncatedError(f"{check.received} of {check.size} bytes")
        return check.received

    async def send(self) -> None:
        """All of the answer but its receipt."""
        await self._sink.write(number_of(self._wish))
        wish, content, sent = self._wish, Content(self._wish.number, "down"), 0
        end = wish.stop if wish.manner is Manner.SERVICE_CUTS else wish.down
        while sent < end:
            piece = content.at(sent, min(PIECE, end - sent))
            await self._sink.write(piece)
            sent += len(piece)
        if wish.manner is Manner.SERVICE_CUTS:
            raise CutError
