"""Joins a stream and a socket: bytes, FIN and resets go through in both directions, at the speed of the slower side."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from portico.tunnel.frames import ErrorCode
from portico.tunnel.handler import StreamHandler
from portico.tunnel.transport import READ_SIZE, Stream

SOCKET_HIGH: Final = 0x10000
"""Bytes waiting in the socket's transport above which the stream gets no more credit."""


class Splice(asyncio.Protocol):
    """The socket's protocol; `StreamSide` is the stream's.

    Made with a stream and attached to a socket later (`create_connection(lambda: splice)`), or, for a socket that is
    open, by `transport.set_protocol(splice); splice.connection_made(transport)`. Until the socket is there at most one
    window of the stream's bytes is held.
    """

    def __init__(self, stream: Stream, on_closed: "Callable[[Splice], None] | None" = None) -> None:
        self.stream = stream
        self.to_socket = 0
        """Bytes that were given to the socket."""
        self.to_stream = 0
        """Bytes that came from the socket."""
        self.reset_code: int | None = None
        """Why the stream ended, if not with FIN both ways."""
        self._transport: asyncio.Transport | None = None
        self._on_closed = on_closed
        self._held: list[bytes] = []
        self._stream_finished = False
        self._socket_finished = False
        self._stream_over = False
        self._closed = False
        stream.handler = StreamSide(self)
        stream.pause_reading()

    # To be refined by who uses it.

    def last_words(self) -> bytes:
        """What to write to the socket when the stream ends before its first byte; a relay may answer 502."""
        return b""

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: what was held goes out."""
        self._transport = cast("asyncio.Transport", transport)
        if self._stream_over:
            self._end_socket()
            return
        self._transport.set_write_buffer_limits(SOCKET_HIGH)
        held, self._held = self._held, []
        for data in held:
            self.stream_data(data)
        if self._stream_finished:
            self._finish_socket()
        if self._transport.get_write_buffer_size() <= SOCKET_HIGH:
            self.stream.resume_reading()

    def data_received(self, data: bytes) -> None:
        """From the socket to the stream."""
        self.to_stream += len(data)
        self.stream.write(data)

    def eof_received(self) -> bool:
        """The socket's peer has finished; the other direction goes on."""
        self._socket_finished = True
        self.stream.write_eof()
        return self._transport is not None and self._transport.can_write_eof()  # TLS ends both ways at once

    def pause_writing(self) -> None:
        """The socket is full: no more credit for the stream."""
        self.stream.pause_reading()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self.stream.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, perhaps because writing to it failed: what it has brought still counts."""
        transport, self._transport = self._transport, None
        self._held.clear()
        if exc is not None and transport is not None and not self._stream_over and (rest := unread(transport)):
            self.data_received(rest)
        self.socket_lost(exc)

    def socket_lost(self, exc: Exception | None) -> None:
        """With the socket goes the stream, but for what it had sent (TLS ends both ways at once)."""
        if self._stream_over:
            self._close()
        elif exc is not None or not self._socket_finished:
            # Behind what has been written in this turn of the event loop.
            asyncio.get_running_loop().call_soon(self.stream.reset, ErrorCode.CANCELLED)

    # The stream's side, called by StreamSide.

    def stream_data(self, data: bytes) -> None:
        """From the stream to the socket."""
        if self._transport is not None:
            self.to_socket += len(data)
            self._transport.write(data)
        elif not self._socket_finished:
            self._held.append(data)
        elif self.stream.queued == 0:
            self.stream.reset(ErrorCode.CANCELLED)

    def stream_eof(self) -> None:
        """The peer of the stream has finished."""
        self._stream_finished = True
        if self._transport is not None:
            self._finish_socket()

    def stream_lost(self, code: int | None) -> None:
        """The stream is over; an orderly end lets the socket drain, a reset cuts it."""
        self._stream_over = True
        self.reset_code = code
        if self._transport is not None:
            self._end_socket()
        else:
            self._close()

    def pause_socket(self) -> None:
        """The stream takes no more: stop reading the socket."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_socket(self) -> None:
        """The stream takes bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _say_last_words(self) -> bool:
        words = self.last_words() if self.to_socket == 0 else b""
        if words and self._transport is not None:
            self.to_socket += len(words)
            self._transport.write(words)
        return bool(words)

    def _finish_socket(self) -> None:
        assert self._transport is not None
        self._say_last_words()
        # TLS has no half-close in asyncio: such a socket goes on until its own end or the stream's.
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _end_socket(self) -> None:
        assert self._transport is not None
        if self.reset_code is None or self._say_last_words():
            self._transport.close()
        else:
            self._transport.abort()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._on_closed is not None:
                self._on_closed(self)


def unread(transport: asyncio.Transport) -> bytes:
    """What a socket still has that was lost because writing failed; nothing where it speaks TLS.

    Servers answer a request that is too large, say, before they have read it, and close: the reset that writing meets
    stands behind the answer. Both event loops close the socket after `connection_lost`.
    """
    if transport.get_extra_info("sslcontext") is not None:
        return b""
    pieces = []
    with suppress(OSError), socket.socket(fileno=socket.dup(transport.get_extra_info("socket").fileno())) as rest:
        rest.setblocking(False)
        while piece := rest.recv(READ_SIZE):
            pieces.append(piece)
    return b"".join(pieces)


class StreamSide(StreamHandler):
    """The stream's handler in a splice."""

    __slots__ = ("_splice",)

    def __init__(self, splice: Splice) -> None:
        self._splice = splice

    def data_received(self, data: bytes) -> None:
        """See Splice.stream_data."""
        self._splice.stream_data(data)

    def eof_received(self) -> None:
        """See Splice.stream_eof."""
        self._splice.stream_eof()

    def connection_lost(self, code: int | None) -> None:
        """See Splice.stream_lost."""
        self._splice.stream_lost(code)

    def pause_writing(self) -> None:
        """See Splice.pause_socket."""
        self._splice.pause_socket()

    def resume_writing(self) -> None:
        """See Splice.resume_socket."""
        self._splice.resume_socket()
