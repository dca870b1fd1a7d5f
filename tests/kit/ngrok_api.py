"""ngrok's official API client for Python (PyPI: ngrok-api), installed beside this environment and run as a program."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kit.alone import alone
from kit.edge import RunningEdge
from kit.sdk_builds import CACHE, SOURCES

PROGRAM = SOURCES / "python-api"
REQUIREMENTS = PROGRAM / "requirements.txt"


class OfficialError(Exception):
    """What the client raised."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(facts["message"])
        self.kind: str = facts["kind"]
        self.code: str = facts["code"]
        self.status: int = facts["status"]
        self.operation_id: str = facts["operation_id"]


@dataclass
class OfficialClient:
    """A running client."""

    process: subprocess.Popen[str]

    def __call__(self, service: str, method: str, **arguments: object) -> Any:
        """Call `client.<service>.<method>(**arguments)`; lists come as the entries of all pages."""
        assert self.process.stdin
        assert self.process.stdout
        print(
            json.dumps({"service": service, "method": method, "arguments": arguments}),
            file=self.process.stdin,
            flush=True,
        )
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise OfficialError(answer["error"])
        return answer["result"]


@contextmanager
def official_client(edge: RunningEdge, api_key: str) -> Iterator[OfficialClient]:
    """A client of `edge`'s API that trusts its authority."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(_installed()),
        "REQUESTS_CA_BUNDLE": str(edge.ca),
        "NO_PROXY": "*",
    }
    command = [sys.executable, str(PROGRAM / "program.py"), api_key, f"https://api.localhost:{edge.https_port}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield OfficialClient(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Method:
    """A method of the client, as the request that it makes with `x` for every text."""

    service: str
    method: str
    verb: str
    path: str
    fields: list[str]
    """Of the body or the query."""


def official_methods() -> list[Method]:
    """All methods that the client has."""
    command = [sys.executable, str(PROGRAM / "methods.py")]
    environment = {**os.environ, "PYTHONPATH": _installed()}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60).stdout
    return [Method(**json.loads(line)) for line in told.splitlines()]


def _installed() -> str:
    target = CACHE / "python-api"
    done = target / ".of"
    with alone(target):
        if not done.exists() or done.read_bytes() != REQUIREMENTS.read_bytes():
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(target)]
            subprocess.run([*pip, "--require-hashes", "-r", str(REQUIREMENTS)], check=True, timeout=100)
            done.write_bytes(REQUIREMENTS.read_bytes())
    return str(target)
