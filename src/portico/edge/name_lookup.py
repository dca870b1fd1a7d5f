"""Looks up the names of upstreams that the edge reaches itself, again and again, as the system's resolver says.

Envoy could (STRICT_DNS), but not in a pool with tunnels; see `translate/hosts.py`. What was found last stays while the
resolver fails, and while this process is away.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from portico.atomic_file import PRIVATE, write_atomically
from portico.daemon_thread import in_thread
from portico.model.names import is_ip

log = logging.getLogger(__name__)

LOOKUP_SECONDS: Final = 5.0
"""Between two lookups of all names, as Envoy's own default (dns_refresh_rate)."""
PATIENCE_SECONDS: Final = 15.0
_AT_ONCE: Final = 20
_Found: TypeAlias = dict[str, tuple[str, ...]]


class NameLookup:
    """The addresses of some names."""

    def __init__(self, hosts: Iterable[str], on_change: Callable[[str], None], memory: Path) -> None:
        """`on_change` hears of each name whose addresses have changed, or were found for the first time.

        `memory` is a file for what was found: Envoy must not lose it because this process began anew while the resolver
        fails.
        """
        self._memory = memory
        self._failing: set[str] = set()
        self._on_change = on_change
        self._found: _Found = msgspec.json.decode(memory.read_bytes(), type=_Found) if memory.exists() else {}
        self._names: list[str] = []
        self._any = asyncio.Event()
        self.follow(hosts)

    def follow(self, hosts: Iterable[str]) -> None:
        """From now on look up these, and no others."""
        self._found = {host: (host,) if is_ip(host) else self._found.get(host, ()) for host in hosts}
        self._names = [host for host in self._found if not is_ip(host)]
        if self._names:
            self._any.set()
        else:
            self._any.clear()

    def addresses(self, host: str) -> tuple[str, ...]:
        """IP addresses, sorted; none where nothing was found yet."""
        return self._found[host]

    async def run(self) -> None:
        """Look up until cancelled."""
        while await self._any.wait():
            await self.look_up()
            await asyncio.sleep(LOOKUP_SECONDS)

    async def look_up(self) -> None:
        """Look up every name once."""
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._one(name, turns) for name in self._names))

    async def _one(self, name: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    found = await in_thread(_resolve, name)
            except OSError as error:
                if name not in self._failing:
                    facts = {"name_of_upstream": name, "reason": str(error) or "no answer in time"}
                    log.warning("an upstream's name is not found", extra=facts)
                self._failing.add(name)
                return
        self._failing.discard(name)
        if found != self._found.get(name, found):
            self._found[name] = found
            write_atomically(self._memory, msgspec.json.encode(self._found).decode(), mode=PRIVATE)
            self._on_change(name)


def _resolve(name: str) -> tuple[str, ...]:
    """IPv4 where there is any: a service often listens there alone, and half of all connects would fail."""
    by_family: dict[int, set[str]] = {}
    for family, _, _, _, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        by_family.setdefault(family, set()).add(str(address[0]).partition("%")[0])
    return tuple(sorted(by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6) or ()))
