"""Whose a socket's number is, on both event loops."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable

import pytest
import uvloop

from portico.agent.hand_over import hand_over

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop]


class Gone(asyncio.Protocol):
    """Wants no connection any more when it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def connected() -> tuple[asyncio.Server, socket.socket]:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.sockets[0].getsockname())
    return server, sock


def innocent_after(number: int) -> socket.socket:
    """A socket that has got the number."""
    other = socket.socket()
    if other.fileno() != number:
        os.dup2(other.fileno(), number)
        other.close()
        other = socket.socket(fileno=number)
    return other


async def is_left_alone(sock: socket.socket, number: int, attempt: Callable[[socket.socket], object]) -> None:
    innocent = innocent_after(number)
    attempt(sock)
    del sock
    gc.collect()
    await asyncio.sleep(0.02)
    os.fstat(innocent.fileno())
    innocent.close()


@LOOPS
def test_a_connection_that_ends_as_it_is_made_closes_nobody_elses(loop: Loop) -> None:
    async def main() -> None:
        server, sock = await connected()
        number = sock.fileno()
        await hand_over(sock, Gone)
        await asyncio.sleep(0.02)  # asyncio closes at the next turn
        await is_left_alone(sock, number, lambda sock: sock.close())
        server.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@LOOPS
def test_an_abandoned_attempt_closes_its_own_connection_once(loop: Loop) -> None:
    async def main() -> None:
        server, sock = await connected()
        number = sock.fileno()
        attempt = asyncio.create_task(hand_over(sock, asyncio.Protocol))
        await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.sleep(0.02)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        await is_left_alone(sock, number, lambda sock: sock.close())
        server.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@LOOPS
def test_what_lives_goes_on_and_is_closed_in_the_end(loop: Loop) -> None:
    async def main() -> None:
        server, sock = await connected()
        number = sock.fileno()
        transport, _ = await hand_over(sock, asyncio.Protocol)
        assert not transport.is_closing()
        transport.abort()
        await asyncio.sleep(0.02)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        server.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
