"""A real OpenID provider for tests: Dex, built once into `.cache/dex`, with people who have passwords."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from kit.alone import alone
from kit.polling import eventually
from kit.ports import free_port

BUILT = Path(__file__).parents[2] / ".cache" / "dex"
VERSION = "v0.0.0-20260806151424-ab64ed778070"
API_VERSION = "v2.4.1-0.20260806151424-ab64ed778070"
"""Its API is a module of its own, of the same commit."""
CLIENT_ID, CLIENT_SECRET = "portico-tests", "a-secret-of-the-tests"
EMAIL, NAME, PASSWORD = "jane@example.com", "jane", "password"
_HASH = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"
"""Of the password, by bcrypt, as in Dex's own example."""


def require_dex() -> Path:
    """The program."""
    program = BUILT / "dex"
    with alone(BUILT):
        _build(program)
    return program


def _build(program: Path) -> None:
    if not program.exists():
        if shutil.which("go") is None:
            pytest.skip("Dex is built with go, which is missing")
        module = BUILT / "module"
        shutil.rmtree(module, ignore_errors=True)
        module.mkdir(parents=True)
        package = "github.com/dexidp/dex"
        # Its module replaces its API by a directory, which `go install` refuses; a module that needs both does not.
        for command in (
            ["go", "mod", "init", "provider"],
            ["go", "get", f"{package}/cmd/dex@{VERSION}", f"{package}/api/v2@{API_VERSION}"],
            ["go", "build", "-p", "2", "-o", str(program), f"{package}/cmd/dex"],
        ):
            environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
            done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"Dex could not be built: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
        shutil.rmtree(module)


@dataclass
class Dex:
    """A running provider. Its memory ends with it: other keys, and no session, when it starts again."""

    issuer: str
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.directory / "dex.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(require_dex()), "serve", str(self.directory / "dex.json")], stdout=log, stderr=log
            )
        described = f"{self.issuer}/.well-known/openid-configuration"
        with httpx.Client(trust_env=False, timeout=60) as client:

            def answers() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return client.get(described).status_code == 200
                return False

            eventually(answers)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            self.process = None

    def sign_in(self, location: str, password: str = PASSWORD) -> str:
        """Fill in the form to which the redirect leads; where the provider sends the browser back to."""
        host = urlsplit(self.issuer).netloc
        with httpx.Client(trust_env=False, timeout=60) as client:
            page = client.get(location)
            while page.is_redirect and urlsplit(page.headers["location"]).netloc in ("", host):
                page = client.get(urljoin(str(page.url), page.headers["location"]))
            if page.is_redirect:
                return str(page.headers["location"])
            action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
            assert action, page.text
            form = {"login": EMAIL, "password": password}
            page = client.post(urljoin(str(page.url), unescape(action[1])), data=form)
            while page.is_redirect and urlsplit(page.headers["location"]).netloc in ("", host):
                page = client.get(urljoin(str(page.url), page.headers["location"]))
            return str(page.headers.get("location", ""))


@contextlib.contextmanager
def running_dex(directory: Path, callbacks: Sequence[str]) -> Iterator[Dex]:
    """Start one that knows an application with these callback URLs."""
    require_dex()
    directory.mkdir(exist_ok=True)
    port = free_port()
    dex = Dex(f"http://127.0.0.1:{port}/dex", directory)
    settings = {
        "issuer": dex.issuer,
        "storage": {"type": "memory"},
        "web": {"http": f"127.0.0.1:{port}"},
        "oauth2": {"skipApprovalScreen": True, "alwaysShowLoginScreen": False},
        "enablePasswordDB": True,
        "staticClients": [
            {"id": CLIENT_ID, "secret": CLIENT_SECRET, "name": "tests", "redirectURIs": list(callbacks)},
        ],
        "staticPasswords": [
            {"email": EMAIL, "hash": _HASH, "username": NAME, "userID": "08a8684b-db88-4b73-90a9-3cd1661f5466"},
        ],
    }
    (directory / "dex.json").write_text(json.dumps(settings))
    dex.start()
    try:
        yield dex
    finally:
        dex.stop()
