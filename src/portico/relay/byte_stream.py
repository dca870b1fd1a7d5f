"""The stream of a visitor whose WebSocket is bytes; it may outlive him by what he sent last."""

import asyncio
from typing import TYPE_CHECKING

from portico.relay.carriage import Carriage, Carrier
from portico.relay.visitors import ALONE_SECONDS
from portico.tunnel.handler import StreamHandler

if TYPE_CHECKING:
    from portico.relay.websocket_converter import WebSocketVisitor


class ByteStream(StreamHandler):
    """One stream for a visitor."""

    __slots__ = ("_alone", "_carrier", "_visitor", "answered", "stream")

    def __init__(self, visitor: "WebSocketVisitor", carrier: Carrier) -> None:
        self._visitor = visitor
        self._carrier = carrier
        self._alone: asyncio.TimerHandle | None = None
        self.answered = False
        """Whether there was a byte of the upstream."""
        self.stream: Carriage

    def data_received(self, data: bytes) -> None:
        """Bytes of the upstream; after the visitor's Close they are for nobody."""
        self.answered = True
        if self._alone is None:
            self._visitor.from_upstream(data)
        else:
            self.drop()

    def eof_received(self) -> None:
        """The upstream sends no more."""
        if self._alone is None:
            self._visitor.upstream_finished(self)

    def connection_lost(self, code: int | None) -> None:
        """The stream is gone: finished in both directions, or reset."""
        self._carrier.figures.streams -= 1
        if self._alone is None:
            self._visitor.upstream_ended(self, code)
        else:
            self._alone.cancel()

    def pause_writing(self) -> None:
        """The agent takes no more."""
        if self._alone is None:
            self._visitor.hold()

    def resume_writing(self) -> None:
        """The agent takes more."""
        if self._alone is None:
            self._visitor.go_on()

    def finish_alone(self) -> None:
        """The visitor has closed in order: what he sent shall arrive, and whatever comes back is for nobody."""
        self.stream.resume_reading()
        self.stream.write_eof()
        self._alone = asyncio.get_running_loop().call_later(ALONE_SECONDS, self.drop)

    def drop(self) -> None:
        """Let go of the stream, with FIN and RST: RST alone wakes no idle stream of ngrok's Rust SDKs."""
        self.stream.abandon()
