"""Tells when the machine's network changes, so that an agent does not sleep through its return."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

# linux/rtnetlink.h: RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_MESSAGE: Final = struct.Struct("=IHHII")
_NEW: Final = frozenset({16, 20, 24})
"""RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE; what goes away brings nothing back."""


@contextlib.contextmanager
def watched(changed: Callable[[], None]) -> Iterator[None]:
    """While in here, call `changed` when a link, an address or a route appears (on Linux; elsewhere nothing is)."""
    try:
        family, protocol = socket.AF_NETLINK, 0  # NETLINK_ROUTE
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    except (AttributeError, OSError):
        yield
        return
    loop = asyncio.get_running_loop()
    with contextlib.closing(sock):
        try:
            sock.bind((0, _GROUPS))
        except OSError:
            yield
            return
        loop.add_reader(sock, _read, sock, changed)
        try:
            yield
        finally:
            loop.remove_reader(sock)


def _read(sock: socket.socket, changed: Callable[[], None]) -> None:
    news = False
    with contextlib.suppress(BlockingIOError, OSError):
        while data := sock.recv(65_536):
            news = news or (len(data) >= _MESSAGE.size and _MESSAGE.unpack_from(data)[1] in _NEW)
    if news:
        changed()
