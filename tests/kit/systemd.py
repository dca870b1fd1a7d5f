"""A systemd of its own, as each user of a machine has one, on a machine that need not run systemd."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.polling import eventually

_SYSTEMD = Path("/lib/systemd/systemd")
_BOOTED = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec {} --user --unit=basic.target"
"""In a mount namespace of its own /run tells every program, and systemd too, that the machine runs systemd."""


@dataclass(frozen=True)
class Systemd:
    """One that serves."""

    process: "subprocess.Popen[bytes]"
    home: Path
    environment: dict[str, str]

    def run(self, *command: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """A command of its user."""
        inside = ("nsenter", "--target", str(self.process.pid), "--mount", f"--wd={directory or self.home}", *command)
        return subprocess.run(inside, capture_output=True, text=True, check=False, env=self.environment, timeout=60)

    def main_pid(self, unit: str) -> int:
        """The process of a unit; 0 while it has none."""
        return int(self.run("systemctl", "--user", "show", "--property=MainPID", "--value", unit).stdout)


@contextlib.contextmanager
def running_systemd(directory: Path) -> Iterator[Systemd]:
    """Start one whose user lives in `directory`."""
    missing = [name for name in ("unshare", "nsenter", "systemctl") if shutil.which(name) is None]
    if missing or not _SYSTEMD.exists():
        pytest.skip(f"{missing[0] if missing else _SYSTEMD} is missing")
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    home, runtime = directory / "home", directory / "run"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_LOG_TARGET": "console"}
    log = directory / "systemd.log"
    with log.open("wb") as output:
        command = ["unshare", "--mount", "sh", "-c", _BOOTED.format(_SYSTEMD)]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    systemd = Systemd(process, home, environment)

    def is_up() -> bool:
        if process.poll() is not None:
            pytest.skip(f"systemd does not run here: {log.read_text()[-300:]}")
        return systemd.run("systemctl", "--user", "is-active", "basic.target").stdout.strip() == "active"

    try:
        eventually(is_up)
        yield systemd
    finally:
        process.terminate()
        process.wait(60)
