"""What comes before a session: the agent's address in a PROXY header, and a first frame of the agent protocol."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from portico.relay import http_answer, limits
from portico.tunnel.frames import HEADER_SIZE, ProtocolError
from portico.tunnel.proxy_protocol import ProxyReader

_DATA_SYN: Final = (0x12, 0x13)
"""Byte 3 of a frame that opens a stream, without FIN and with it."""

Welcome = Callable[[asyncio.Transport, str, bytes], None]
"""Takes over the transport, with the agent's address and the bytes that came already."""


def begins_session(data: bytes) -> bool:
    """Whether `data` begins as an agent's first frame does: DATA with SYN, on an odd stream id."""
    return data[3] in _DATA_SYN and data[4] < 0x80 and data[7] % 2 == 1


class Arrival(asyncio.Protocol):
    """A connection on the agents' socket until it is known to be an agent's; others are told what this is."""

    def __init__(self, welcome: Welcome, left: Callable[[], None], *, refused: bool = False) -> None:
        self._welcome = welcome
        self._left = left
        self._refused = refused
        self._reader = ProxyReader()
        self._received = b""
        self._remote: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock: whoever says nothing is not waited for."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(limits.AUTH_SECONDS, self._transport.abort)
        if self._refused:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read the address, then look at the first frame."""
        if self._remote is not None:
            self._received += data
        elif not self._read_address(data):
            return
        if len(self._received) < HEADER_SIZE:
            return
        self._deadline.cancel()
        if not begins_session(self._received):
            self._transport.write(http_answer.misdirected(self._received))
            self._transport.close()
            return
        assert self._remote is not None
        self._welcome(self._transport, self._remote, self._received)

    def _read_address(self, data: bytes) -> bool:
        try:
            header = self._reader.feed(data)
        except ProtocolError:
            # Only Envoy reaches this socket, and it always sends the header.
            self._transport.abort()
            return False
        if header is None:
            return False
        self._remote, self._received = header.client_addr(), self._reader.rest
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody came."""
        self._deadline.cancel()
        self._left()
