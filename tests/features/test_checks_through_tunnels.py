"""Checks of what agents serve reach the service at the other end of the tunnel."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

import portico
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.ports import free_port
from kit.visit import visit


@dataclass
class Service:
    """An HTTP service that says who it is, and at /health how it is."""

    name: str
    health: int = 200
    asked: list[str] = field(default_factory=list)
    port: int = 0


@contextlib.contextmanager
def serving(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_GET(self) -> None:
            checked = self.path == "/health"
            service.asked.append(f"{self.path} {self.headers['host']}")
            self.send_response(service.health if checked else 200)
            self.send_header("content-length", str(len(service.name)))
            self.end_headers()
            self.wfile.write(service.name.encode())

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service.port = server.server_address[1]
        yield service
        server.shutdown()


@contextlib.contextmanager
def speaking(word: bytes) -> Iterator[socketserver.ThreadingTCPServer]:
    """A TCP service that says one word as soon as it is asked for it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(1):
                self.request.sendall(word)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def tcp_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, tcp_port: int) -> Iterator[RunningEdge]:
    directory: Path = tmp_path_factory.mktemp("checks")
    often = {"interval": 0.3, "idle_interval": 0.3, "unhealthy_after": 1}
    endpoints = [
        {"url": "https://checked.localhost", "health_check": {"path": "/health", "host": "checks", **often}},
        {"url": "https://dialled.localhost", "health_check": {"type": "tcp", **often}},
        {"url": f"tcp://localhost:{tcp_port}", "health_check": {"type": "tcp", **often}},
    ]
    config = directory / "edge.yml"
    config.write_text(yaml.safe_dump({"endpoints": endpoints}))
    with running_edge(directory, "--config", str(config), "--tcp-ports", f"{tcp_port}-{tcp_port}") as running:
        yield running
        portico.kill()


def forward(edge: RunningEdge, port: int, **options: object) -> portico.Listener:
    session = {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}
    return portico.forward(port, pooling_enabled=True, **session, **options)


def test_a_request_reaches_the_service(edge: RunningEdge) -> None:
    url = f"https://checked.localhost:{edge.https_port}"
    with serving(Service("well")) as well, serving(Service("sick")) as sick:
        listeners = [forward(edge, each.port, domain="checked.localhost") for each in (well, sick)]
        assert visit(edge, url).status_code == 200
        eventually(lambda: "/health checks" in sick.asked and "/health checks" in well.asked)

        def names() -> set[str]:
            return {visit(edge, url).text for _ in range(8)}

        eventually(lambda: names() == {"well", "sick"})
        sick.health = 503
        eventually(lambda: names() == {"well"})
        sick.health = 200
        eventually(lambda: names() == {"well", "sick"})
        for listener in listeners:
            listener.close()


def test_a_connection_is_one_to_the_service(edge: RunningEdge, tcp_port: int) -> None:
    def said() -> bytes:
        with socket.create_connection(("127.0.0.1", tcp_port), timeout=30) as visitor:
            visitor.sendall(b"?")
            return visitor.recv(10)

    with speaking(b"stays") as stays:
        listeners = [forward(edge, stays.server_address[1], proto="tcp", remote_addr=f"localhost:{tcp_port}")]
        with speaking(b"goes") as goes:
            listeners.append(forward(edge, goes.server_address[1], proto="tcp", remote_addr=f"localhost:{tcp_port}"))
            eventually(lambda: {said() for _ in range(8)} == {b"stays", b"goes"})
        # Its agent lives, and its relay takes connections for it.
        eventually(lambda: {said() for _ in range(8)} == {b"stays"})
        for listener in listeners:
            listener.close()


def test_a_connection_is_enough_for_an_https_endpoint(edge: RunningEdge) -> None:
    url = f"https://dialled.localhost:{edge.https_port}"
    with serving(Service("one")) as one:
        listeners = [forward(edge, one.port, domain="dialled.localhost"), forward(edge, 1, domain="dialled.localhost")]
        # Also for what must not be sent again: with the check, the agent without a service gets nothing.
        eventually(lambda: {visit(edge, url, method="GET").text for _ in range(8)} == {"one"})
        eventually(lambda: [visit(edge, url, method="POST").status_code for _ in range(8)] == [501] * 8)
        assert all("/health" not in asked for asked in one.asked)
        for listener in listeners:
            listener.close()
