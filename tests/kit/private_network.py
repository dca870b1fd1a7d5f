"""A machine in a private network: a network namespace with one link, to the edge, and no way in."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class PrivateNetwork:
    """One that stands."""

    name: str
    edge: str
    """The edge's address on the link."""
    address: str
    """This machine's."""
    hosts: Path

    @property
    def inside(self) -> tuple[str, ...]:
        """The command that runs another in it, which becomes that other; the edge's names lead over the link."""
        with_hosts = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ("ip", "netns", "exec", self.name, "sh", "-c", with_hosts, str(self.hosts))


def require_namespaces() -> None:
    """Skip where this process may not make any."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = f"try{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"there are no network namespaces here: {tried.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", name], check=True)


@contextlib.contextmanager
def private_network(number: int, directory: Path, *edge_names: str) -> Iterator[PrivateNetwork]:
    """Make one, whose machine knows the edge by these names; `number` tells it from others of this process."""
    name, outer, inner = (f"{kind}{os.getpid()}n{number}" for kind in ("pn", "o", "i"))
    edge, address = f"10.213.{number}.1", f"10.213.{number}.2"
    hosts = directory / f"hosts-{number}"
    hosts.write_text(f"127.0.0.1 localhost\n{edge} {' '.join(edge_names)}\n")
    with contextlib.ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)  # the link goes with it
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("address", "add", f"{edge}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "address", "add", f"{address}/30", "dev", inner)
        _ip("-n", name, "link", "set", inner, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield PrivateNetwork(name, edge, address, hosts)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
