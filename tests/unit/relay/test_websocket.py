"""Frames become bytes however they are split; a handshake that is none is refused with the reason."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.frame_protocol import CloseReason

from portico.model.errors import WEBSOCKET_EXPECTED, WEBSOCKET_VERSION
from portico.relay.websocket import RefusedError, WebSocketEnd

HEAD = (
    b"GET /x HTTP/1.1\r\nhost: a.test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


def accepted(head: bytes = HEAD) -> WebSocketEnd:
    end = WebSocketEnd(head)
    assert end.accept().startswith(b"HTTP/1.1 101 ")
    return end


def visitor() -> Connection:
    return Connection(ConnectionType.CLIENT)


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """A frame as RFC 6455, 5.2 has it, masked with zeros."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    longer = b"" if size < 126 else size.to_bytes(2 if size < 1 << 16 else 8, "big")
    first = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | short])
    return first + longer + (bytes(4) if masked else b"") + payload


MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda data: (data, data)),
        st.text(max_size=100).map(lambda text: (text, text.encode())),
        st.binary(max_size=125).map(lambda payload: (Ping(payload), b"")),
    ),
    max_size=20,
)


@given(MESSAGES, st.data())
def test_any_split_of_frames_and_of_what_is_read_gives_the_same_bytes(
    messages: list[tuple[object, bytes]], data: st.DataObject
) -> None:
    sender, wire = visitor(), b""
    for sent, _ in messages:
        if isinstance(sent, Ping):
            wire += sender.send(sent)
            continue
        cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=3).map(sorted))  # type: ignore[arg-type]
        kind = TextMessage if isinstance(sent, str) else BytesMessage
        places = [0, *cuts, len(sent)]  # type: ignore[arg-type]
        for start, stop in itertools.pairwise(places):
            part = sent[start:stop]  # type: ignore[index]
            wire += sender.send(kind(data=part, message_finished=False))
            if data.draw(st.booleans()):
                wire += sender.send(Ping(b"between"))
        wire += sender.send(kind(data=sent[:0], message_finished=True))  # type: ignore[index]
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=20).map(sorted))
    end = accepted()
    read = b"".join(end.receive(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    assert read == b"".join(payload for _, payload in messages)
    assert (end.finished, end.fault) == (None, None)


@given(st.lists(st.binary(min_size=1, max_size=1 << 17), max_size=4))
def test_bytes_of_the_upstream_are_binary_messages(pieces: list[bytes]) -> None:
    end, reader = accepted(), visitor()
    for piece in pieces:
        reader.receive_data(end.message(piece))
    events = list(reader.events())
    assert all(isinstance(event, BytesMessage) for event in events)
    assert b"".join(bytes(event.data) for event in events if isinstance(event, BytesMessage)) == b"".join(pieces)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_rubbish_raises_nothing(pieces: list[bytes]) -> None:
    end = accepted()
    for piece in pieces:
        end.receive(piece)
        end.replies()
    end.close(1000)
    assert end.message(b"x") == b""


@given(st.binary(max_size=300))
def test_no_head_raises_anything_but_a_refusal(head: bytes) -> None:
    with pytest.raises(RefusedError):
        WebSocketEnd(head + b"\r\n\r\n")


def test_a_message_of_any_length_is_not_kept() -> None:
    end = accepted()
    assert end.receive(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4)) == b""
    for _ in range(100):
        assert end.receive(bytes(1 << 16)) == bytes(1 << 16)
        assert len(end._connection.connection._proto._frame_decoder.buffer) == 0  # type: ignore[union-attr]


def test_only_the_last_ping_is_answered_where_nobody_asked_between() -> None:
    end, reader = accepted(), visitor()
    for number in range(100):
        end.receive(frame(0x9, str(number).encode()))
    reader.receive_data(end.replies())
    assert list(reader.events()) == [Pong(b"99")]
    assert end.replies() == b""


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(0x2, b"x", masked=False), CloseReason.PROTOCOL_ERROR),
        (frame(0x2, b"x", rsv=4), CloseReason.PROTOCOL_ERROR),
        (frame(0x3, b"x"), CloseReason.PROTOCOL_ERROR),
        (frame(0x0, b"x"), CloseReason.PROTOCOL_ERROR),
        (frame(0x2, b"x", fin=False) + frame(0x2, b"x"), CloseReason.PROTOCOL_ERROR),
        (frame(0x9, bytes(126)), CloseReason.PROTOCOL_ERROR),
        (frame(0x9, b"", fin=False), CloseReason.PROTOCOL_ERROR),
        (frame(0x8, b"\x03"), CloseReason.PROTOCOL_ERROR),
        (frame(0x8, (1005).to_bytes(2, "big")), CloseReason.PROTOCOL_ERROR),
        (frame(0x1, b"\xff"), CloseReason.INVALID_FRAME_PAYLOAD_DATA),
        (frame(0x1, b"\xc3"), CloseReason.INVALID_FRAME_PAYLOAD_DATA),
    ],
)
def test_what_no_websocket_may_is_a_fault_with_its_code(wire: bytes, code: CloseReason) -> None:
    end, reader = accepted(), visitor()
    assert end.receive(frame(0x2, b"before")) == b"before"
    end.receive(wire)
    assert end.finished is None
    assert end.receive(frame(0x2, b"after")) == b""
    reader.receive_data(end.close(1000))
    (event,) = reader.events()
    assert isinstance(event, CloseConnection)
    assert event.code == code


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), ((1000).to_bytes(2, "big") + b"bye", 1000)])
def test_a_close_is_answered_once_and_with_its_own_code(payload: bytes, code: int) -> None:
    end, reader = accepted(), visitor()
    assert end.receive(frame(0x2, b"last") + frame(0x8, payload) + frame(0x2, b"ignored")) == b"last"
    assert end.finished is not None
    reader.receive_data(end.close(1011, "not this"))
    (event,) = reader.events()
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason) == (code, "")
    assert end.close(1000) == b""
    assert end.message(b"x") == b""


def test_bytes_still_come_after_our_close_until_the_visitors_own() -> None:
    end = accepted()
    assert end.close(1000, "x" * 500)
    assert end.message(b"too late") == b""
    assert end.receive(frame(0x2, b"still")) == b"still"
    assert end.receive(frame(0x9, b"ping")) == b""
    assert end.replies() == b""
    end.receive(frame(0x8, b""))
    assert end.finished is not None
    assert end.close(1000) == b""


@pytest.mark.parametrize(
    ("offered", "taken"),
    [(None, None), ("mqtt", "mqtt"), ("mqtt, amqp", "mqtt"), ("base64, binary", "binary"), ("", None)],
)
def test_a_subprotocol_is_taken_where_some_are_offered(offered: str | None, taken: str | None) -> None:
    line = b"" if offered is None else f"sec-websocket-protocol: {offered}\r\n".encode()
    answer = WebSocketEnd(HEAD[:-2] + line + b"\r\n").accept().lower()
    wanted = b"" if taken is None else f"sec-websocket-protocol: {taken}\r\n".encode()
    assert wanted in answer
    assert (b"protocol:" in answer) is (taken is not None)


def test_extensions_are_declined() -> None:
    asked = HEAD[:-2] + b"sec-websocket-extensions: permessage-deflate\r\n\r\n"
    assert b"extensions" not in WebSocketEnd(asked).accept().lower()


def test_what_the_library_asks_for_is_accepted() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    end = WebSocketEnd(client.send(Request(host="a.test", target="/x", subprotocols=["mqtt"])))
    client.receive_data(end.accept())
    (event,) = client.events()
    assert isinstance(event, AcceptConnection)
    assert event.subprotocol == "mqtt"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((b"GET", b"POST"), WEBSOCKET_EXPECTED),
        ((b"upgrade: websocket\r\n", b""), WEBSOCKET_EXPECTED),
        ((b"upgrade: websocket", b"upgrade: h2c"), WEBSOCKET_EXPECTED),
        ((b"connection: Upgrade\r\n", b""), WEBSOCKET_EXPECTED),
        ((b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), WEBSOCKET_EXPECTED),
        ((b"sec-websocket-version: 13\r\n", b""), WEBSOCKET_EXPECTED),
        ((b"version: 13", b"version: 8"), WEBSOCKET_VERSION),
        ((b"host: a.test", b"host: \xff"), WEBSOCKET_EXPECTED),
        ((b"\r\n\r\n", b"\r\nsec-websocket-protocol: \xff\r\n\r\n"), WEBSOCKET_EXPECTED),
    ],
)
def test_other_requests_are_refused(change: tuple[bytes, bytes], code: object) -> None:
    with pytest.raises(RefusedError) as refused:
        WebSocketEnd(HEAD.replace(*change))
    assert refused.value.code is code
