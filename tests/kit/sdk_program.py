"""An official ngrok SDK in a program of its own, whatever its language.

The program gets one JSON argument: `server`, `ca` (path), `authtoken`. It obeys lines on standard input, each a JSON
list, and answers each with one JSON line `{"result": …}` or `{"error": message, "code": "ERR_NGROK_<n>" or ""}`:

* `["forward", options]` → the listener's number and URL. Options, all optional but `to`: `to` (URL of the upstream),
  `proto` (http, tcp, tls, labeled), `domain`, `scheme` (HTTP), `address` (of a tcp endpoint), `labels`, `crt`, `key`,
  `mutual_tls_cas` (PEM), `automatic` (TLS ends at the edge with a certificate of its choice), `proxy_proto` ("1", "2"),
  `app_protocol`, `host_header`, `pooling`, `verify_upstream_tls`, `traffic_policy`, and `calls`: a list of methods of
  the SDK's builder with their arguments, named as in the Python SDK: `[["basic_auth", "user", "password"], …]`.
* `["close", number]` ends a listener.
* `["commands"]` → the names of the commands (stop, restart, update) that the edge sent so far.
"""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kit.edge import RunningEdge

ANSWER_SECONDS = 60


class SdkError(Exception):
    """What the SDK raised."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SdkListener:
    """A listener in the program."""

    program: "SdkProgram"
    number: int
    url: str

    def close(self) -> None:
        """Let the SDK close it."""
        self.program.ask("close", self.number)


class SdkProgram:
    """A running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, *command: Any) -> Any:
        """One command and its answer. Raises SdkError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        # A program that hangs is ended; its reader then sees the end of the file.
        watchdog = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"the program ended, or did not answer {command[0]} in {ANSWER_SECONDS} s"
        answer = json.loads(line)
        if "error" in answer:
            raise SdkError(answer["error"], answer["code"])
        return answer["result"]

    def forward(self, to: str, **options: Any) -> SdkListener:
        """A new listener that forwards to `to`."""
        number, url = self.ask("forward", {"to": to, **options})
        return SdkListener(self, number, url)


@dataclass(frozen=True)
class Sdk:
    """How to start the program of one language, and what its SDK has no API for."""

    name: str
    command: tuple[str, ...]
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Feature → why a test of it is skipped."""

    def needs(self, *features: str) -> None:
        """Skip the test where the SDK has no such thing."""
        for feature in features:
            if feature in self.lacks:
                pytest.skip(f"{self.name}: {self.lacks[feature]}")

    @contextlib.contextmanager
    def connect(self, server: str, ca: Path, authtoken: str) -> Iterator[SdkProgram]:
        """Start it towards an edge; the session begins with the first listener."""
        target = json.dumps({"server": server, "ca": str(ca), "authtoken": authtoken})
        process = subprocess.Popen(
            [*self.command, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("NGROK_")},
        )  # fmt: skip
        try:
            yield SdkProgram(process)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def agent(self, edge: RunningEdge, authtoken: str | None = None) -> contextlib.AbstractContextManager[SdkProgram]:
        """The same, towards a running edge."""
        return self.connect(edge.connect_url, edge.ca, authtoken or edge.authtoken)
