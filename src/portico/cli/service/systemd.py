"""The service as a unit of systemd (https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html)."""

import os
from pathlib import Path
from typing import Final

from portico.cli.config.paths import config_folder
from portico.cli.service.manager import NAME, Program, ask

_UNIT: Final = f"{NAME}.service"
_SYSTEM: Final = Path("/etc/systemd/system")
_TEXT: Final = """\
# Written by `portico service install`; `portico service uninstall` takes it away.
[Unit]
Description=Portico agent
{after}# Goes on trying for as long as the edge is away.
StartLimitIntervalSec=0

[Service]
ExecStart={command}
WorkingDirectory={directory}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes

[Install]
WantedBy={target}
"""
_AFTER_NETWORK: Final = "Wants=network-online.target\nAfter=network-online.target\n"


class Systemd:
    """The system's systemd, or the one that each user has (`systemctl --user`)."""

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._systemctl = ("systemctl", "--user") if own else ("systemctl",)

    @property
    def file(self) -> Path:
        """The unit."""
        own = config_folder(os.environ, "linux") / "systemd" / "user" if self._own else None
        return (own or _SYSTEM) / _UNIT

    @property
    def hints(self) -> tuple[str, ...]:
        """Where its log is, and when a user's services run."""
        log = f"its log: journalctl {'--user ' if self._own else ''}-u {NAME}"
        return (log, "it runs while you are signed in; `loginctl enable-linger` keeps it") if self._own else (log,)

    def described(self, program: Program) -> str:
        """The unit's text."""
        return _TEXT.format(
            after="" if self._own else _AFTER_NETWORK,  # users' managers know nothing of the network
            command=" ".join(map(_quoted, program.arguments)),
            directory=_escaped(str(program.directory)),
            target="default.target" if self._own else "multi-user.target",
        )

    def added(self) -> None:
        """Let it start at boot, or when the user signs in."""
        self._ask("daemon-reload")
        self._ask("enable", _UNIT)

    def removing(self) -> None:
        """End it, and start it no more."""
        self._ask("disable", "--now", _UNIT)

    def removed(self) -> None:
        """Forget the unit."""
        self._ask("daemon-reload")

    def start(self) -> None:
        """Start it."""
        self._ask("start", _UNIT)

    def stop(self) -> None:
        """End it."""
        self._ask("stop", _UNIT)

    def restart(self) -> None:
        """Start it anew."""
        self._ask("restart", _UNIT)

    def state(self) -> str:
        """`active`, `inactive`, `failed` and so on; not running is no failure of the question."""
        return ask(*self._systemctl, "is-active", _UNIT, may_fail=True)

    def _ask(self, *words: str) -> None:
        ask(*self._systemctl, *words)


def _quoted(argument: str) -> str:
    """One word of ExecStart: quoted as in C, with no specifier (`%`) and no variable (`$`) in it."""
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
