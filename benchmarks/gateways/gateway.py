"""A gateway as its processes: what every contender has in common, and how each differs (`Gateway`)."""

import abc
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.comparison import Named
from benchmarks.gateways.upstreams import Upstreams
from benchmarks.peers.tunnel import Command, ports, running
from benchmarks.processes import family, proportional_bytes
from benchmarks.visit import Visit

DOMAIN = "gateway.test"
PAGES = f"app.{DOMAIN}"
BULK = f"bulk.{DOMAIN}"
WORKERS = 2
IDLE_UPSTREAM = 512
"""Connections to the upstream that a gateway may keep, where it has such a limit."""


@dataclass(frozen=True)
class Setting:
    """What a gateway is started with."""

    directory: Path
    """Its own; files, logs."""
    programs: Mapping[str, Path]
    certificate: Path
    """For `*.DOMAIN`, PEM."""
    key: Path
    both: Path
    """Certificate and key in one file."""
    authority: Path
    """Who signed it."""
    upstreams: Upstreams


@dataclass(frozen=True)
class Running:
    """A gateway that answers."""

    name: str
    pid: int
    authority: Path
    ports: Mapping[str, int]
    """By host."""

    def url(self, host: str = PAGES) -> str:
        """With no path."""
        return f"https://{host}:{self.ports[host]}"

    @property
    def processes(self) -> dict[str, int]:
        """All that work for it, by id."""
        return {str(pid): pid for pid in family(self.pid)}

    @property
    def memory(self) -> int:
        """Bytes, shared pages counted once."""
        return proportional_bytes(family(self.pid))


class Gateway(abc.ABC):
    """A contender."""

    needs: ClassVar[str] = ""
    """As `build.PEERS` knows it."""
    named: ClassVar[Named]

    @abc.abstractmethod
    def serve(self, setting: Setting) -> contextlib.AbstractContextManager[Running]:
        """Start it; it answers when this is entered."""


class Program(Gateway):
    """One program with one file of configuration, and a port for each upstream."""

    environment: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def configure(self, setting: Setting, ports: Mapping[str, int]) -> list[str]:
        """Write the configuration; returns the command line."""

    @contextlib.contextmanager
    def serve(self, setting: Setting) -> Iterator[Running]:
        hosts = dict(zip((PAGES, BULK), ports(2), strict=True))
        command = self.configure(setting, hosts)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(setting.directory), **self.environment}
        with running(Command(tuple(command), environment), setting.directory / "log") as process:
            made = Running(self.named.name, process.pid, setting.authority, hosts)
            until_ok(made)
            yield made


def until_ok(gateway: Running) -> None:
    """Wait until both hosts answer."""
    visit = Visit(gateway.authority)
    visit.until_ok(f"{gateway.url(PAGES)}/", pause=0.05)


def upstream_ports(setting: Setting) -> dict[str, int]:
    """The upstream's port by host."""
    return {PAGES: setting.upstreams.pages, BULK: setting.upstreams.bulk}
