"""Where a host name leads: `localhost` and the names below it are loopback, whatever the system's resolver thinks.

RFC 6761 section 6.3 asks for this; most systems resolve no `*.localhost`, and asking the resolver costs a thread hop.
"""

import asyncio
import socket
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "::1")


def is_loopback_name(host: str) -> bool:
    """Whether `host` is `localhost` or a name below it."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


async def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses to try for `host`, in order. Raises socket.gaierror."""
    if is_loopback_name(host):
        return [(socket.AF_INET, (LOOPBACK[0], port)), (socket.AF_INET6, (LOOPBACK[1], port))]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(socket.AddressFamily(family), (str(address[0]), port)) for family, _, _, _, address in found]
