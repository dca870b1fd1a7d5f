"""curl as a visitor: every name is this machine, and the edge's own authority is trusted."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

MARK = "\n--curl--"


@dataclass(frozen=True)
class Answer:
    """What curl got; `status` is 0 where there was no answer."""

    exit: int
    status: int
    version: str
    body: str
    error_code: str
    """The field ngrok-error-code."""


def curl(url: str, ca: Path, *flags: str) -> Answer:
    """Ask `url` (tls:// is asked over https, tcp:// over http)."""
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    parts = urlsplit(url)
    scheme = {"tls": "https", "tcp": "http"}.get(parts.scheme, parts.scheme)
    target = parts._replace(scheme=scheme, path=parts.path or "/").geturl()
    wanted = MARK + "%{http_code} %{http_version} %header{ngrok-error-code}"
    place = ("--connect-to", f"::127.0.0.1:{parts.port}", "--noproxy", "*", "--cacert", str(ca))
    command = ["curl", "-sS", "--max-time", "60", "-w", wanted, *place, *flags, target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    body, _, figures = done.stdout.rpartition(MARK)
    status, version, *code = figures.split(" ")
    return Answer(done.returncode, int(status), version, body, "".join(code))
