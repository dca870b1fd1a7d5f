"""Looks up the names of upstreams that the edge reaches itself, again and again, as the system's resolver says.

Envoy could (STRICT_DNS), but not in a pool with tunnels; see `translate/hosts.py`. What was found last stays while the
resolver fails, and while this process is away.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Final

from portico.daemon_thread import in_thread

log = logging.getLogger(__name__)

LOOKUP_SECONDS: Final = 5.0
"""Between two lookups of all names, as Envoy's own default (dns_refresh_rate)."""
_AT_ONCE: Final = 20


class NameLookup:
    """The addresses of some names."""

    def __init__(self, hosts: Iterable[str], on_change: Callable[[str], None]) -> None:
        """`on_change` hears of each name whose addresses have changed, or were found for the first time."""
        self._found: dict[str, tuple[str, ...]] = {}
        self._failing: set[str] = set()
        self._on_change = on_change
        for host in hosts:
            self._found[host] = (host,) if _is_ip(host) else ()
        self._names = [host for host, found in self._found.items() if not found]

    def addresses(self, host: str) -> tuple[str, ...]:
        """IP addresses, sorted; none where nothing was found yet."""
        return self._found[host]

    async def run(self) -> None:
        """Look up until cancelled."""
        while self._names:
            await self.look_up()
            await asyncio.sleep(LOOKUP_SECONDS)

    async def look_up(self) -> None:
        """Look up every name once."""
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._one(name, turns) for name in self._names))

    async def _one(self, name: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                found = await in_thread(_resolve, name)
            except OSError as error:
                if name not in self._failing:
                    log.warning(
                        "an upstream's name is not found", extra={"name_of_upstream": name, "reason": str(error)}
                    )
                self._failing.add(name)
                return
        self._failing.discard(name)
        if found != self._found[name]:
            self._found[name] = found
            self._on_change(name)


def _resolve(name: str) -> tuple[str, ...]:
    """IPv4 where there is any: a service often listens there alone, and half of all connects would fail."""
    by_family: dict[int, set[str]] = {}
    for family, _, _, _, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        by_family.setdefault(family, set()).add(str(address[0]).partition("%")[0])
    return tuple(sorted(by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6) or ()))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
