"""The edge's end of a visitor's WebSocket (RFC 6455) whose messages are bytes of a stream. Does no input or output."""

from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from portico.model.errors import WEBSOCKET_EXPECTED, WEBSOCKET_VERSION, ErrorCode

VERSION_FIELD: Final = "sec-websocket-version: 13"
"""What a visitor of another version is told (RFC 6455, 4.4)."""
PREFERRED: Final = "binary"
"""The subprotocol by which older programs say that they send bytes as they are."""


class RefusedError(Exception):
    """The request is no WebSocket's; the page of `code` says so."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class WebSocketEnd:
    """One WebSocket, from the head of its request to the last Close frame. Holds nothing but a frame's beginning."""

    __slots__ = ("_connection", "_ping", "_subprotocol", "fault", "finished")

    def __init__(self, head: bytes) -> None:
        """Read `head`, a whole request without what follows. Raises RefusedError."""
        self._connection = WSConnection(ConnectionType.SERVER)
        self._subprotocol = _subprotocol(_request(self._connection, head))
        self._ping: Ping | None = None
        """The last one that has no answer."""
        self.finished: CloseConnection | None = None
        """The visitor's Close."""
        self.fault: CloseConnection | None = None
        """What to close with after the visitor did what no WebSocket may; nothing of him is read any more."""

    def accept(self) -> bytes:
        """The answer to the handshake. Extensions are declined: what deflated frames become has no bound."""
        return self._connection.send(AcceptConnection(subprotocol=self._subprotocol))

    def receive(self, data: bytes) -> bytes:
        """The payload in `data`, wherever messages and frames begin and end. Text is its UTF-8."""
        if self.finished is not None or self.fault is not None:
            return b""
        self._connection.receive_data(data)
        payload: list[bytes] = []
        for event in self._connection.events():
            match event:
                case BytesMessage():
                    payload.append(bytes(event.data))
                case TextMessage():
                    payload.append(event.data.encode())
                case Ping():
                    self._ping = event
                case CloseConnection() if self._is_over:
                    self.finished = event
                case CloseConnection():
                    self.fault = event
        return b"".join(payload)

    def replies(self) -> bytes:
        """The Pong that is due: for the last Ping alone, where there were more meanwhile (RFC 6455, 5.5.3)."""
        ping, self._ping = self._ping, None
        return self._connection.send(ping.response()) if ping is not None and self._is_open else b""

    def message(self, data: bytes) -> bytes:
        """`data` as one binary message; nothing after a Close."""
        return self._connection.send(BytesMessage(data)) if self._is_open else b""

    def close(self, code: int, reason: str = "") -> bytes:
        """The Close frame, unless one was sent. A visitor's own Close, or fault, is answered with its code."""
        answered = self.finished or self.fault
        if answered is not None:
            code, reason = answered.code, (self.fault and self.fault.reason) or ""
        if not self._is_open and self._connection.state is not ConnectionState.REMOTE_CLOSING:
            return b""
        return self._connection.send(CloseConnection(code=code, reason=reason or None))

    @property
    def _is_open(self) -> bool:
        return self._connection.state is ConnectionState.OPEN

    @property
    def _is_over(self) -> bool:
        """Whether the visitor's Close has come: where it has not, the library tells a fault by the same event."""
        return self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)


def _request(connection: WSConnection, head: bytes) -> Request:
    try:
        connection.receive_data(head)
        events = list(connection.events())
    except RemoteProtocolError as error:
        hint = error.event_hint
        newer = isinstance(hint, RejectConnection) and hint.status_code == WEBSOCKET_VERSION.status
        raise RefusedError(WEBSOCKET_VERSION if newer else WEBSOCKET_EXPECTED, str(error)) from None
    except UnicodeError:
        raise RefusedError(WEBSOCKET_EXPECTED, "A field of the request is no ASCII") from None
    if len(events) != 1 or not isinstance(events[0], Request):
        raise RefusedError(WEBSOCKET_EXPECTED, "This is no request")
    return events[0]


def _subprotocol(request: Request) -> str | None:
    """One of those that the visitor offers, for browsers close where none is taken. All are bytes here."""
    offered = [one for one in request.subprotocols if one]
    return PREFERRED if PREFERRED in offered else next(iter(offered), None)
