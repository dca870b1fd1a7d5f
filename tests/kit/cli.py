"""`portico` as a process: its log lines, and a terminal for its screen."""

import codecs
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

from kit.edge import RunningEdge

PATIENCE = 60.0
COMMAND = (sys.executable, "-m", "portico.cli.main")
LATER = {
    "alembic", "cryptography", "email", "fastapi", "google.protobuf", "grpc", "h11", "httpx", "importlib.metadata",
    "json", "portico.agent.file_server", "portico.agent.proxy", "portico.agent.web", "portico.edge",
    "portico.model.endpoint", "pydantic", "pydantic_core", "rich", "secrets", "sqlalchemy", "starlette", "uvicorn",
    "wsproto",
}  # fmt: skip
"""Modules that no agent loads before its first endpoint is up: each would be waited for."""


class RunningAgent:
    """A `portico` that logs JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.records: list[dict[str, Any]] = []

    def record(self, *keys: str) -> dict[str, Any]:
        """The next log record that has all of `keys`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.records.append(json.loads(line))
            if all(key in self.records[-1] for key in keys):
                return self.records[-1]
        raise AssertionError(f"portico ended: {self.records} {self.stderr()}")

    def url(self) -> str:
        """The next endpoint's."""
        return str(self.record("url")["url"])

    def stderr(self) -> str:
        """What it said beside the log, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def stop(self, number: int = signal.SIGINT) -> int:
        """The exit status after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running_agent(edge: RunningEdge, *arguments: str, **environment: str) -> Iterator[RunningAgent]:
    """`portico <arguments>` for this edge, with JSON log lines."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--log", "stdout", "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**edge.agent_environment, "XDG_CONFIG_HOME": str(edge.data_dir / "no-config"), **environment},
    )
    agent = RunningAgent(process)
    try:
        yield agent
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Terminal:
    """A pseudo-terminal with a program on it."""

    def __init__(self, edge: RunningEdge, *arguments: str, columns: int = 80, rows: int = 24) -> None:
        self._screen, self._keyboard = pty.openpty()
        self.resize(columns, rows)
        self.attributes = termios.tcgetattr(self._keyboard)
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a letter may come in two pieces
        environment = {key: value for key, value in edge.agent_environment.items() if key not in ("COLUMNS", "LINES")}
        # The first terminal that a session leader opens becomes its controlling one, which Ctrl-C needs.
        on_terminal = 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1'
        self.process = subprocess.Popen(
            ["sh", "-c", on_terminal, "sh", os.ttyname(self._keyboard), *COMMAND, *arguments],
            env={**environment, "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(edge.data_dir / "no-config")},
            start_new_session=True,
        )

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window manager does: the program gets SIGWINCH."""
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, wanted: str) -> str:
        """All that was written since the last call, up to a part that has `wanted`."""
        fresh = ""
        while wanted not in fresh:
            if not select.select([self._screen], [], [], PATIENCE)[0]:
                raise AssertionError(f"no {wanted!r} in {fresh!r}")
            fresh += self._decoder.decode(os.read(self._screen, 65_536))
        self.text += fresh
        return fresh

    def drain(self) -> None:
        """Take what is left to read of a program that has ended."""
        while select.select([self._screen], [], [], 0)[0]:
            self.text += self._decoder.decode(os.read(self._screen, 65_536))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._screen, keys)

    def attributes_now(self) -> list[Any]:
        """The terminal's modes."""
        return termios.tcgetattr(self._keyboard)

    def close(self) -> None:
        """End the program and give the terminal back."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._screen)
        os.close(self._keyboard)
