"""A threaded HTTP/1.1 service for tests that are not asynchronous."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    """An answer leaves as a whole, so that one that is cut off has not begun."""

    def do_GET(self) -> None:
        """`/slow?s` answers after s seconds; `/stream?s` sends a line each tenth of a second for s seconds."""
        path, _, seconds = self.path.partition("?")
        if path == "/stream":
            self._stream(float(seconds))
            return
        if path == "/slow":
            time.sleep(float(seconds))
        self.send_body(f"served {self.path}\n".encode())

    def send_body(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, seconds: float) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(int(seconds * 10)):
            line = f"{number}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextlib.contextmanager
def answering_service(answer: Callable[[BaseHTTPRequestHandler], bytes]) -> Iterator[int]:
    """Answers each GET with what `answer` makes of it; yields the port, of 127.0.0.1."""

    class Answering(_Handler):
        def do_GET(self) -> None:
            self.send_body(answer(self))

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Answering)) as port:
        yield port


@contextlib.contextmanager
def http_service(port: int = 0, *, pair: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The service on 127.0.0.1, on a free port unless one is given, behind TLS if there is a pair; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with _running(server) as taken:
        yield taken


@contextlib.contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
