"""One transfer over HTTP/2, both directions at once, which httpx cannot: it sends all before it reads."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error

from kit.soak.content import PIECE
from kit.soak.framing import TruncatedError

_STREAM = 1
"""The only one: each transfer is a connection."""
_HEADER_SIZE = 9


def context_like(context: ssl.SSLContext) -> ssl.SSLContext:
    """One that trusts the same authorities and offers HTTP/2."""
    made = ssl.create_default_context(cadata=b"".join(context.get_ca_certs(binary_form=True)))
    made.set_alpn_protocols(["h2"])
    return made


class Http2Request:
    """A request on a connection of its own, and its answer as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._room = asyncio.Event()
        self._received = b""
        self.status = 0
        self.fields: dict[str, str] = {}

    async def send(self, headers: list[tuple[str, str]], pieces: list[bytes]) -> None:
        """Send everything, as windows allow."""
        self._connection.initiate_connection()
        self._connection.send_headers(_STREAM, headers)
        for piece in pieces:
            rest = piece
            while rest:
                size = await self._window(len(rest))
                self._connection.send_data(_STREAM, rest[:size])
                rest = rest[size:]
                await self._flush()
        self._connection.end_stream(_STREAM)
        await self._flush()

    async def answer(self) -> AsyncIterator[bytes]:
        """Nothing once the head is there, then the body. Raises TruncatedError."""
        ended = False
        while not ended:
            data = await self._reader.read(PIECE)
            if not data:
                raise TruncatedError("the connection ended before its stream")
            events: list[Event] = []
            for frame in self._frames(data):
                try:
                    received = self._connection.receive_data(frame)
                except H2Error as error:
                    raise TruncatedError(f"HTTP/2: {error}") from None
                for event in received:
                    ended = self._take(event) or ended
                events += received
            self._room.set()
            await self._flush()
            for event in events:
                if isinstance(event, ResponseReceived):
                    yield b""
                elif isinstance(event, DataReceived):
                    yield event.data or b""

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Whole frames: what follows a GOAWAY must be read after `_take` has seen that (RFC 9113, section 4.1)."""
        self._received += data
        while len(self._received) >= _HEADER_SIZE:
            size = _HEADER_SIZE + int.from_bytes(self._received[:3], "big")
            if len(self._received) < size:
                return
            frame, self._received = self._received[:size], self._received[size:]
            yield frame

    def _take(self, event: Event) -> bool:
        match event:
            case ResponseReceived():
                self.fields = {str(name): str(value) for name, value in event.headers or ()}
                self.status = int(self.fields[":status"])
            case DataReceived():
                self._connection.acknowledge_received_data(event.flow_controlled_length or 0, _STREAM)
            case StreamReset():
                raise TruncatedError(f"the stream was reset: {event.error_code!r}")
            case ConnectionTerminated(error_code=ErrorCodes.NO_ERROR):
                # Streams go on after GOAWAY (RFC 9113, section 6.8); h2 takes its connection for closed.
                self._connection.state_machine.state = ConnectionState.CLIENT_OPEN
            case ConnectionTerminated():
                raise TruncatedError(f"GOAWAY: {event.error_code!r}")
            case StreamEnded():
                return True
        return False

    async def _window(self, most: int) -> int:
        """How much may be sent now, once that is something."""
        while (window := self._connection.local_flow_control_window(_STREAM)) == 0:
            self._room.clear()
            await self._flush()
            await self._room.wait()
        return min(most, window, self._connection.max_outbound_frame_size)

    async def _flush(self) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the connection is gone")
        self._writer.write(self._connection.data_to_send())
        await self._writer.drain()
