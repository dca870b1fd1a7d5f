"""The soak's HTTP/2 visitor: a server that makes way lets its streams end (RFC 9113, section 6.8)."""

import asyncio

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import GoAwayFrame

from kit.soak.http2 import Http2Request


class Sink:
    """Keeps what a request writes."""

    def __init__(self) -> None:
        self.written = b""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        """Never full."""


@pytest.mark.parametrize("step", [1, 10, 1000])
async def test_an_answer_after_a_goaway_is_whole(step: int) -> None:
    reader, sink = asyncio.StreamReader(), Sink()
    request = Http2Request(reader, sink)  # type: ignore[arg-type]
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")]
    await request.send(fields, [b"hello"])
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(sink.written)
    sent = server.data_to_send() + GoAwayFrame(0, last_stream_id=1).serialize()
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, b"served", end_stream=True)
    sent += server.data_to_send()
    answering = asyncio.create_task(anext(answer := request.answer()))
    for begin in range(0, len(sent), step):
        reader.feed_data(sent[begin : begin + step])
        await asyncio.sleep(0)
    assert await answering == b""
    assert (request.status, b"".join([data async for data in answer])) == (200, b"served")
