"""What the tests of the acceptance table share: an edge, and app.example.com with its owner's files and services."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.client_certificates import VisitorAuthority, written
from kit.curl import Answer, curl
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.recorder import Recorder, recording_upstream
from kit.sdk_builds import SOURCES
from kit.service import http_service

NAME = "app.example.com"
EDGE_DOMAIN = "edge.example.net"
PYTHON = (sys.executable, str(SOURCES / "python" / "snippets.py"))
"""The program of the Python SDKs' snippets."""
CONFIG = Path(__file__).parents[1] / "rows" / "config"


@dataclass(frozen=True)
class Application:
    """What the owner of app.example.com has."""

    directory: Path
    ca: Path
    """Signed its certificates."""
    crt: Path
    key: Path
    wildcard: tuple[Path, Path]
    """A certificate for every name below the edge's domain, and its key."""
    plain: int
    """Port of the service without TLS."""
    tls: int
    """Port of the same service behind its own TLS."""
    visitors: VisitorAuthority
    cas: Path
    """PEM of `visitors`."""
    client: tuple[Path, Path]
    """A visitor's certificate and key."""
    stranger: tuple[Path, Path]
    """A certificate and key of an authority that nobody knows."""
    recorder: Recorder
    """A service without TLS that keeps what it got."""

    @property
    def for_random_names(self) -> dict[str, str]:
        """Variables that give a snippet `wildcard` instead of the certificate of app.example.com."""
        return dict(zip(("CRT", "KEY"), map(str, self.wildcard), strict=True))

    def config(self, file: str, upstream: int) -> str:
        """A file of `tests/rows/config`, with this upstream's port and these files' paths put in."""
        text = (CONFIG / file).read_text("utf-8").replace("8000", str(upstream)).replace("4433", str(upstream))
        for name, path in (("app.pem", self.crt), ("app.key", self.key), ("cas.pem", self.cas)):
            text = text.replace(name, str(path))
        return text

    def shown(self, pair: tuple[Path, Path] | None = None) -> tuple[str, ...]:
        """curl's flags for a visitor's certificate."""
        certificate, key = pair or self.client
        return ("--cert", str(certificate), "--key", str(key))


@pytest.fixture(scope="module")
def rows_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """An edge whose random names a wildcard certificate can cover."""
    with running_edge(tmp_path_factory.mktemp("edge"), "--domain", EDGE_DOMAIN) as edge:
        yield edge


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """app.example.com, running."""
    directory = tmp_path_factory.mktemp("app")
    owner, visitors = KeyPairs(directory, "owner"), VisitorAuthority()
    crt, key = owner.issue(NAME)
    cas = directory / "cas.pem"
    cas.write_text(visitors.pem)
    with http_service() as plain, http_service(pair=(crt, key)) as tls, recording_upstream() as recorder:
        yield Application(
            directory=directory,
            ca=owner.ca,
            crt=crt,
            key=key,
            wildcard=owner.issue(f"*.{EDGE_DOMAIN}"),
            plain=plain,
            tls=tls,
            visitors=visitors,
            cas=cas,
            client=written(visitors.issue(), directory, "client"),
            stranger=written(VisitorAuthority("strangers").issue(), directory, "stranger"),
            recorder=recorder,
        )


def snippet_environment(edge: RunningEdge, app: Application, upstream: int) -> dict[str, str]:
    """What the programs of `tests/sdks` are told by."""
    return {
        **edge.agent_environment,
        "NGROK_AUTHTOKEN": edge.authtoken,
        "UPSTREAM": f"localhost:{upstream}",
        "DOMAIN": NAME,
        "CRT": str(app.crt),
        "KEY": str(app.key),
        "CAS": str(app.cas),
    }


@contextlib.contextmanager
def snippet(edge: RunningEdge, app: Application, upstream: int, *command: str, **changed: str) -> Iterator[str]:
    """Run a program of `tests/sdks` that is one of the documents' snippets; its endpoint's URL."""
    environment = {**snippet_environment(edge, app, upstream), **changed}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said.startswith("Ingress established at: "), said
        yield said.removeprefix("Ingress established at: ")
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def assert_served(answer: Answer, path: str = "/") -> None:
    """The service answered."""
    assert (answer.exit, answer.status, answer.body) == (0, 200, f"served {path}\n")


def assert_ends_under(url: str, ca: Path, other: Path) -> None:
    """A visitor who trusts `ca` is served; one who trusts `other` alone sees a certificate he does not know."""
    assert_served(curl(f"{url}/row", ca), "/row")
    assert curl(url, other).exit == 60


def assert_demands_certificate(url: str, ca: Path, app: Application) -> None:
    """Visitors with a certificate of `cas.pem` pass; of others the recorder, if it is behind `url`, hears nothing."""
    passed = curl(f"{url}/known", ca, *app.shown())
    assert (passed.exit, passed.status) == (0, 200), passed
    assert "/known" in passed.body
    before = app.recorder.connections
    for flags in ((), app.shown(app.stranger)):
        refused = curl(f"{url}/unknown", ca, *flags)
        # In TLS 1.3 the alert arrives after curl's part of the handshake is done: it may meet it while sending (55).
        assert refused.exit in (35, 55, 56), refused
        assert refused.status == 0
    assert app.recorder.connections == before
    assert b"/unknown" not in app.recorder.received
