"""Whose a socket's number is once uvloop has had it."""

import asyncio
import gc
import os
import socket
from typing import cast

import pytest
import uvloop

from portico.agent.hand_over import hand_over


class Gone(asyncio.Protocol):
    """Wants no connection any more when it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


@pytest.fixture
def runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def connected() -> tuple[asyncio.Server, socket.socket]:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.sockets[0].getsockname())
    return server, sock


async def survives_collection(innocent: socket.socket) -> None:
    await asyncio.sleep(0.01)
    gc.collect()
    os.fstat(innocent.fileno())
    innocent.close()


def test_a_connection_that_ends_as_it_is_made_closes_nobody_elses(runner: asyncio.Runner) -> None:
    async def main() -> None:
        server, sock = await connected()
        number = sock.fileno()
        await hand_over(sock, Gone)
        innocent = socket.socket()
        assert innocent.fileno() == number  # libuv has closed it
        del sock
        await survives_collection(innocent)
        server.close()

    with runner:
        runner.run(main())


def test_an_attempt_that_is_given_up_closes_nobody_elses(runner: asyncio.Runner) -> None:
    async def main() -> None:
        server, sock = await connected()
        attempt = asyncio.create_task(hand_over(sock, asyncio.Protocol))
        await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert sock.fileno() == -1
        innocents = [socket.socket() for _ in range(3)]
        del sock, attempt
        for innocent in innocents:
            await survives_collection(innocent)
        server.close()

    with runner:
        runner.run(main())


def test_what_lives_goes_on(runner: asyncio.Runner) -> None:
    async def main() -> None:
        server, sock = await connected()
        transport, _ = await hand_over(sock, asyncio.Protocol)
        assert not transport.is_closing()
        os.fstat(sock.fileno())
        transport.abort()
        server.close()

    with runner:
        runner.run(main())
