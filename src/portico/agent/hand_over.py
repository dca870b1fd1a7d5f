"""Gives a connected socket to the event loop, so that nobody closes its number twice."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def hand_over(
    sock: socket.socket,
    factory: Callable[[], ProtocolT],
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> tuple[asyncio.Transport, ProtocolT]:
    """A transport that owns `sock` and a protocol of `factory`; `sock` is gone where that fails.

    libuv closes the number itself, at once. uvloop (0.23, `create_connection`) tells the socket object only where the
    transport outlives the call; else the object would close, when it is collected, what has that number by then:
    the connection of another visitor. Raises what `create_connection` raises.
    """
    loop = asyncio.get_running_loop()
    libuv = type(loop).__module__.partition(".")[0] == "uvloop"
    try:
        if sock.family == getattr(socket, "AF_UNIX", None):
            transport, protocol = await loop.create_unix_connection(factory, sock=sock)
        else:
            transport, protocol = await loop.create_connection(factory, sock=sock, ssl=tls, server_hostname=server_name)
    except BaseException:
        if libuv:
            sock.detach()
        else:
            sock.close()
        raise
    if libuv and transport.is_closing():
        sock.detach()
    return transport, protocol
