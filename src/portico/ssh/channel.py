"""A visitor carried by a forwarded-tcpip channel (RFC 4254, 7.2)."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncssh

from portico.ssh import limits
from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler

Open = Callable[[Callable[[], "VisitorChannel"]], Awaitable[object]]
"""Opens a channel with the session that the factory makes; raises asyncssh.Error where the client refuses."""


class VisitorChannel(asyncssh.SSHTCPSession[bytes]):
    """The `Carriage` of a visitor. What arrives before the client has reached its upstream is held, and bounded."""

    def __init__(
        self, handler: StreamHandler, first: bytes, on_refused: Callable[[str], None], on_end: Callable[[], None]
    ) -> None:
        """`on_refused` is told the client's reason when it could not reach its upstream; `on_end` comes last, once."""
        self._handler = handler
        self._on_refused = on_refused
        self._on_end = on_end
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._held = bytearray(first)
        self._holding = False
        self._reading = True
        self._finished = False
        self._peer_finished = False
        self._over = False

    async def open(self, opening: Open) -> None:
        """Ask the client to connect to its upstream; a refusal ends the carriage."""
        try:
            await opening(lambda: self)
        except asyncssh.ChannelOpenError as error:
            self._on_refused(error.reason)
            self._end(ErrorCode.CANCELLED)
        except (asyncssh.Error, OSError):
            self._end(ErrorCode.CANCELLED)

    # The visitor's side.

    def write(self, data: bytes) -> None:
        """Send bytes to the upstream."""
        if self._channel is None:
            self._held += data
            if len(self._held) > limits.HELD and not self._holding:
                self._holding = True
                self._handler.pause_writing()
        elif not self._channel.is_closing():
            self._channel.write(data)

    def write_eof(self) -> None:
        """The visitor sends no more."""
        self._finished = True
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()
            self._close_if_done()

    def pause_reading(self) -> None:
        """Give the upstream no more window."""
        self._reading = False
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Give it window again."""
        self._reading = True
        if self._channel is not None:
            self._channel.resume_reading()

    def abandon(self) -> None:
        """Close the channel now, whatever is under way."""
        if self._over:
            return
        self._over = True
        if self._channel is not None:
            self._channel.abort()
        asyncio.get_running_loop().call_soon(self._tell_end, ErrorCode.CANCELLED)

    # The channel's side, called by asyncssh.

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """The client has reached its upstream: what was held goes out."""
        self._channel = chan
        if self._over:
            chan.abort()
            return
        chan.set_write_buffer_limits(limits.HELD)
        held, self._held = bytes(self._held), bytearray()
        if held:
            chan.write(held)
        if self._finished:
            chan.write_eof()
        if self._holding:
            self._holding = False
            if chan.get_write_buffer_size() <= limits.HELD:
                self._handler.resume_writing()

    def session_started(self) -> None:
        """asyncssh begins to read here, unless reading is paused already."""
        if not self._reading and self._channel is not None:
            self._channel.pause_reading()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Bytes of the upstream."""
        if not self._over:
            self._handler.data_received(data)

    def eof_received(self) -> bool:
        """The upstream sends no more; the other direction goes on."""
        self._peer_finished = True
        if not self._over:
            self._handler.eof_received()
            self._close_if_done()
        return True

    def pause_writing(self) -> None:
        """The client takes no more."""
        if not self._over:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It takes more."""
        if not self._over:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed by the client, or its connection is gone."""
        self._end(None if exc is None else ErrorCode.CANCELLED)

    def _close_if_done(self) -> None:
        if self._finished and self._peer_finished and self._channel is not None:
            self._channel.close()

    def _end(self, code: int | None) -> None:
        if not self._over:
            self._over = True
            self._tell_end(code)

    def _tell_end(self, code: int | None) -> None:
        self._on_end()
        self._handler.connection_lost(code)
