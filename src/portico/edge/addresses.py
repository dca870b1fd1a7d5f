"""Tests, before Envoy starts, that the node's addresses can be bound, and turns port 0 into a free port.

Envoy binds with SO_REUSEPORT, so two edges on one port would share its visitors, not fail: hence the test without it.
"""

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from portico.model.edge import SocketAddress
from portico.model.errors import ADDRESS_IN_USE, SETTING_INVALID, PorticoError


def resolve_addresses(wanted: Mapping[str, SocketAddress]) -> dict[str, SocketAddress]:
    """The addresses with real ports, by the flag that each came from (e.g. `--https-addr`).

    All are held together while they are tested, so that no two get the same port; afterwards they are free again.
    Raises PorticoError(ADDRESS_IN_USE), or SETTING_INVALID where this user or machine cannot have the address.
    """
    with ExitStack() as held:
        return {flag: _bound(held, address, flag) for flag, address in wanted.items()}


def can_listen(address: SocketAddress) -> bool:
    """Whether the address is free for this process now."""
    try:
        _listen(address).close()
    except OSError:
        return False
    return True


def _bound(held: ExitStack, address: SocketAddress, flag: str) -> SocketAddress:
    try:
        listener = held.enter_context(_listen(address))
    except OSError as error:
        raise _refused(address, flag, error) from None
    return SocketAddress(address.host, listener.getsockname()[1])


def _listen(address: SocketAddress) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of an edge that stopped just now are in TIME_WAIT still; they are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        # With SO_REUSEADDR it is `listen` that tells whether somebody else listens (socket(7)).
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def _refused(address: SocketAddress, flag: str, error: OSError) -> PorticoError:
    if error.errno == errno.EADDRINUSE:
        return PorticoError(ADDRESS_IN_USE, f"{address} ({flag}) is in use by another program")
    if error.errno in (errno.EACCES, errno.EPERM):
        fix = "Choose a port above 1023, or give the process CAP_NET_BIND_SERVICE."
    else:
        fix = "Choose an address of this machine, such as 0.0.0.0 or 127.0.0.1."
    reason = os.strerror(error.errno) if error.errno else str(error)
    return PorticoError(SETTING_INVALID, f"cannot listen on {address} ({flag}): {reason}", fix=fix)
