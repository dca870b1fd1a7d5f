"""Requests over a session: one typed stream, one JSON object each way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from portico.tunnel.frames import ErrorCode, ProtocolError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.json_reader import JsonReader
from portico.tunnel.transport import SessionProtocol, Stream

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0
"""How long a stream without an answer is kept; also a sensible `timeout` for `request`."""

Message = Mapping[str, object]
Answer = Callable[[dict[str, object]], Awaitable["Message | None"]]
"""Answers one request; None finishes the stream without an answer."""


class _Asking(StreamHandler):
    def __init__(self, answer: "asyncio.Future[dict[str, object]]") -> None:
        self._answer = answer
        self._reader = JsonReader()

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            return
        try:
            answer = self._reader.feed(data)
        except ProtocolError as error:
            self._answer.set_exception(error)
            return
        if answer is not None:
            self._answer.set_result(answer)

    def eof_received(self) -> None:
        self.connection_lost(ErrorCode.PEER_EOF)

    def connection_lost(self, code: int | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(ProtocolError(code or ErrorCode.PEER_EOF, "the peer gave no answer"))


async def request(session: SessionProtocol, kind: int, message: Message | bytes, timeout: float) -> dict[str, object]:
    """Ask the peer and return its answer.

    Raises ProtocolError where the answer is no JSON object or the stream ends without one, TimeoutError after `timeout`
    seconds, and PorticoError(STREAM_LIMIT, SESSION_CLOSED) where no stream can be opened.
    """
    answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
    body = message if isinstance(message, bytes) else msgspec.json.encode(message)
    stream = session.open(kind, _Asking(answer), body)
    try:
        async with asyncio.timeout(timeout):
            return await answer
    finally:
        stream.abandon()  # Go never finishes its direction of such a stream


def tell(session: SessionProtocol, kind: int, message: Message | bytes) -> None:
    """Send a message that has no answer (StopTunnel, UpstreamFailed). Raises what `SessionProtocol.open` raises."""
    body = message if isinstance(message, bytes) else msgspec.json.encode(message)
    stream = session.open(kind, StreamHandler(), body)
    stream.write_eof()
    # Go never finishes its direction of such a stream; a RST at once could overtake its reading.
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, stream.abandon)


class _Reading(StreamHandler):
    """Reads one JSON object from a stream; garbage and an early end reset the stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reader = JsonReader()
        self._complete = False

    def received(self, body: dict[str, object]) -> None:
        """The object is whole. May raise ProtocolError."""

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._complete:
            return
        try:
            body = self._reader.feed(data)
            if body is not None:
                self._complete = True
                self.received(body)
        except ProtocolError as error:
            log.warning("bad message", extra={"kind": self._stream.kind, "reason": error.message})
            self._stream.reset(ErrorCode.PROTOCOL)

    def eof_received(self) -> None:
        """An end before the object is whole is an error."""
        if not self._complete:
            self._stream.reset(ErrorCode.PROTOCOL)


class Hearing(_Reading):
    """Hands on a message that has no answer at once, before any frame that came after it is looked at."""

    def __init__(self, stream: Stream, hear: Callable[[dict[str, object]], None]) -> None:
        super().__init__(stream)
        self._hear = hear

    def received(self, body: dict[str, object]) -> None:
        """Nothing is to be said back."""
        self._hear(body)
        self._stream.write_eof()


class Answering(_Reading):
    """Answers one request without waiting for the peer's FIN: Rust SDKs finish only after the answer.

    Answer and FIN leave in one frame. An exception of `answer` resets the stream.
    """

    def __init__(self, stream: Stream, answer: Answer) -> None:
        super().__init__(stream)
        self._answer = answer
        self._task: asyncio.Task[None] | None = None

    def received(self, body: dict[str, object]) -> None:
        """Begin to answer."""
        self._task = asyncio.get_running_loop().create_task(self._respond(body))

    def connection_lost(self, code: int | None) -> None:
        """Nobody waits for the answer any more; work that was begun is not cut in the middle."""

    async def _respond(self, body: dict[str, object]) -> None:
        try:
            answer = await self._answer(body)
        except Exception:
            log.exception("a request could not be answered", extra={"kind": self._stream.kind})
            self._stream.reset(ErrorCode.INTERNAL)
            return
        if answer is not None:
            self._stream.write(msgspec.json.encode(answer))
        self._stream.write_eof()
