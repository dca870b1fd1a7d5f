"""What every service manager offers, and how one is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

from portico.model.errors import SERVICE_MANAGER_MISSING, SERVICE_REFUSED, PorticoError
from portico.model.value import Value

NAME: Final = "portico"


class Program(Value, frozen=True):
    """What is to run."""

    arguments: tuple[str, ...]
    """The program's absolute path first."""
    directory: Path
    """Where it runs: relative paths of a configuration file begin there."""


class ServiceManager(Protocol):
    """One that is told of the service by a file; what it refuses is PorticoError(SERVICE_REFUSED)."""

    @property
    def file(self) -> Path:
        """The file that describes the service."""

    @property
    def hints(self) -> tuple[str, ...]:
        """What whoever installs the service should know."""

    def described(self, program: Program) -> str:
        """The file's text."""

    def added(self) -> None:
        """The file is there: the service is to start at boot."""

    def removing(self) -> None:
        """The file is about to go: the service is to end."""

    def removed(self) -> None:
        """The file has gone."""

    def start(self) -> None:
        """Start the service, which may run already."""

    def stop(self) -> None:
        """End it, if it runs."""

    def restart(self) -> None:
        """End it, if it runs, and start it."""

    def state(self) -> str:
        """`active` while it runs, else the manager's own word."""


def this_machine(own: bool) -> ServiceManager:
    """Its manager: the user's `own` one, which everybody but root has to take, or the system's.

    Raises PorticoError(SERVICE_MANAGER_MISSING).
    """
    own = own or not _is_root()
    if sys.platform == "darwin":
        from portico.cli.service.launchd import Launchd

        return Launchd(own=own)
    # sd_booted(3): the directory is there if and only if the system runs systemd.
    if shutil.which("systemctl") and Path("/run/systemd/system").is_dir():
        from portico.cli.service.systemd import Systemd

        return Systemd(own=own)
    raise PorticoError(SERVICE_MANAGER_MISSING, "this system has neither systemd nor launchd")


def ask(*command: str, may_fail: bool = False) -> str:
    """What a manager's program prints. Raises PorticoError(SERVICE_REFUSED) with its reason unless it `may_fail`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise PorticoError(SERVICE_REFUSED, f"{command[0]} cannot be run: {error.strerror or error}") from None
    if done.returncode and not may_fail:
        reason = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        raise PorticoError(SERVICE_REFUSED, f"{' '.join(command)}: {reason}")
    return done.stdout.strip()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
