"""A captured request that is sent again, on either event loop: the class of a transport differs."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from portico.agent.dial import Dialer
from portico.agent.inspector import CapturedMessage, CapturedRequest, Inspector
from portico.agent.replay import replay
from portico.agent.upstream import parse_upstream

ASKED = CapturedMessage("GET /again HTTP/1.1", fields=b"host\na")
CAPTURED = CapturedRequest("1", "web", "192.0.2.1:1", 0.0, 0.0, "GET", "/again", ASKED)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_its_answer_is_kept(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    async def main() -> list[tuple[str, int | None]]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            inspector = Inspector()
            await replay(CAPTURED, Dialer(parse_upstream(server.sockets[0].getsockname()[1])), inspector)
            return [(found.uri, found.status) for found in inspector.requests()]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()) == [("/again", 201)]
