"""The service as a property list of launchd (launchd.plist(5), launchctl(1))."""

import os
import plistlib
from pathlib import Path
from typing import Any, Final

from portico.cli.service.manager import NAME, Program, ask

_LABEL: Final = f"org.{NAME}.agent"


class Launchd:
    """The system's daemons, or the agents of one user."""

    def __init__(self, *, own: bool) -> None:
        self._library = (Path.home() if own else Path("/")) / "Library"
        self._own = own
        self._domain = f"gui/{os.getuid()}" if own else "system"
        self._target = f"{self._domain}/{_LABEL}"

    @property
    def file(self) -> Path:
        """The property list, which launchd reads at boot or when the user signs in."""
        return self._library / ("LaunchAgents" if self._own else "LaunchDaemons") / f"{_LABEL}.plist"

    @property
    def hints(self) -> tuple[str, ...]:
        """Where its log is: launchd keeps none."""
        return (f"its log: {self._log}",)

    def described(self, program: Program) -> str:
        """The property list's text."""
        service: dict[str, Any] = {
            "Label": _LABEL,
            "ProgramArguments": list(program.arguments),
            "WorkingDirectory": str(program.directory),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 5,
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
        }
        return plistlib.dumps(service, sort_keys=False).decode()

    def added(self) -> None:
        """Nothing: that the file is there is all that launchd wants."""

    def removing(self) -> None:
        """End it."""
        self.stop()

    def removed(self) -> None:
        """Nothing: launchd knew it by its file."""

    def start(self) -> None:
        """Load it, which starts it, too."""
        if self._loaded():
            ask("launchctl", "kickstart", self._target)
        else:
            ask("launchctl", "bootstrap", self._domain, str(self.file))

    def stop(self) -> None:
        """Unload it: what is only ended is started again."""
        if self._loaded():
            ask("launchctl", "bootout", self._target)

    def restart(self) -> None:
        """End and start it."""
        if self._loaded():
            ask("launchctl", "kickstart", "-k", self._target)
        else:
            self.start()

    def state(self) -> str:
        """`active` where it runs."""
        lines = ask("launchctl", "print", self._target, may_fail=True).splitlines()
        return "active" if "state = running" in map(str.strip, lines) else "inactive"

    def _loaded(self) -> bool:
        return bool(ask("launchctl", "print", self._target, may_fail=True))

    @property
    def _log(self) -> Path:
        return (self._library if self._own else Path("/var")) / ("Logs" if self._own else "log") / f"{NAME}.log"
