"""What the tests of the official SDKs share: an edge with a second owner, upstreams, and one agent a module."""

import contextlib
import hashlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import portico
from kit import nginx as nginx_kit
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.nginx import Nginx, nginx
from kit.ports import free_port
from kit.sdk_program import Sdk, SdkProgram
from kit.web_service import web_service

OTHER_OWNER_TOKEN = "token-of-the-other-owner"
RESERVED = "reserved.example.com"
LABELLED = "labelled.localhost"


@dataclass(frozen=True)
class Upstreams:
    """What the agents forward to."""

    nginx: Nginx
    web: int
    digest: int
    """Reads to the end, then answers with the SHA-256 of what it read."""
    closed: int
    """A port where nobody listens."""
    authority: KeyPairs
    """Signed the certificate of the TLS upstream, which is for upstream.localhost."""


@pytest.fixture(scope="module")
def sdk_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """An edge with another owner, who has a reserved domain, and with an endpoint for labelled tunnels."""
    directory = tmp_path_factory.mktemp("sdk-edge")
    settings = {
        "owners": [{"name": "other", "authtoken": OTHER_OWNER_TOKEN, "domains": [RESERVED]}],
        "endpoints": [{"url": f"https://{LABELLED}", "labels": {"edge": "edghts_1"}}],
    }
    config = directory / "edge.yml"
    config.write_text(yaml.safe_dump(settings))
    with running_edge(directory, "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstreams]:
    """All of them, running."""
    if nginx_kit.program() is None:
        pytest.skip("nginx is missing")
    directory = tmp_path_factory.mktemp("upstreams")
    authority = KeyPairs(directory, "upstreams")
    pair = authority.issue("upstream.localhost")
    with nginx(directory, *pair) as server, web_service() as web, _digest_service() as digest:
        yield Upstreams(server, web, digest, free_port(), authority)


@pytest.fixture(scope="module")
def agent(sdk: Sdk, sdk_edge: RunningEdge) -> Iterator[SdkProgram]:
    """One agent, whose session the tests of a module share."""
    with sdk.agent(sdk_edge) as program:
        yield program


@contextlib.contextmanager
def sdk_at(edge: RunningEdge) -> Iterator[None]:
    """Our own SDK finds this edge, and its listeners end with the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in edge.agent_environment.items():
            if name.startswith("PORTICO_"):
                patch.setenv(name, value)
        yield
        portico.kill()


@pytest.fixture
def sdk_environment(edge: RunningEdge) -> Iterator[None]:
    """Our own SDK finds the module's edge."""
    with sdk_at(edge):
        yield


@pytest.fixture
def pairs(tmp_path: Path) -> KeyPairs:
    """An authority of the test's own."""
    return KeyPairs(tmp_path, "owner")


class _Digest(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        digest = hashlib.sha256()
        while data := self.request.recv(1 << 16):
            digest.update(data)
        self.request.sendall(digest.hexdigest().encode())


@contextlib.contextmanager
def _digest_service() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Digest) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
