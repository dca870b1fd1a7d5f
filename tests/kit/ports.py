"""Ports for those who must be told one: outside of the range from which the system gives them to whoever asks for any.

A port of that range that was free a moment ago may be a connection's own end a moment later, on a busy machine. These
are held for the process that asked, against every other process of tests on this machine, until it ends.
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

LOWEST: Final = 21_000
"""Below are the ports that settings and examples name."""
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LINUX_DEFAULT: Final = 32_768


class _Ports:
    """Goes round the ports, so that one that was used comes again as late as possible."""

    def __init__(self, first: int, end: int) -> None:
        self._first, self._end = first, end
        self._next = random.randrange(first, end)
        self._held: set[int] = set()
        # A lock of a file's byte is its process's: gone with it, and no child has it (fcntl(2)).
        path = Path(tempfile.gettempdir(), f"portico-test-ports-{os.getuid()}")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, count: int) -> int:
        """The first of `count` neighbours."""
        for _ in range(self._end - self._first):
            first = self._next if self._next + count <= self._end else self._first
            taken = [port for port in range(first, first + count) if not self._is_ours(port) or not _is_free(port)]
            self._next = max(taken) + 1 if taken else first + count
            if not taken:
                return first
        raise RuntimeError(f"no {count} neighbouring ports are free between {self._first} and {self._end}")

    def _is_ours(self, port: int) -> bool:
        if port not in self._held:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except OSError:
                return False
            self._held.add(port)
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


@cache
def _ports(_process: int) -> _Ports:
    lowest_given = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _LINUX_DEFAULT
    return _Ports(LOWEST, lowest_given)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_port_range(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    return [free_port() for _ in range(count)]


def free_port_range(count: int) -> tuple[int, int]:
    """First and last of `count` neighbours."""
    first = _ports(os.getpid()).take(count)
    return first, first + count - 1
