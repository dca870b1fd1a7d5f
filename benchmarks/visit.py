"""One request on a connection of its own, and the wait for the first that succeeds."""

import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 60.0


class Visit:
    """Visitors who trust the edge's authority (`ca`), and `more` authorities; with a certificate where one is given."""

    def __init__(self, ca: Path, *more: Path, key_pair: tuple[Path, Path] | None = None) -> None:
        self._context = ssl.create_default_context(cafile=str(ca))
        for authority in more:
            self._context.load_verify_locations(str(authority))
        if key_pair is not None:
            self._context.load_cert_chain(*key_pair)

    def status(self, url: str, timeout: float = 10.0) -> int:
        """The status of a GET; 0 where the connection was refused or lost."""
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port or 0
        request = f"GET {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout) as plain:
                # As curl and browsers do; else the request waits for the delayed ACK of the handshake's last message.
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if parts.scheme == "http":
                    return _ask(plain, request)
                with self._context.wrap_socket(plain, server_hostname=host) as secure:
                    return _ask(secure, request)
        except OSError:
            return 0

    def until_ok(self, url: str, pause: float = 0.002) -> float:
        """Ask until the answer is 200; returns the time (`time.perf_counter`) of that answer."""
        deadline = time.perf_counter() + PATIENCE
        while (status := self.status(url)) != 200:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{url} still answers {status}")
            time.sleep(pause)
        return time.perf_counter()


def _ask(connection: socket.socket, request: str) -> int:
    connection.sendall(request.encode())
    head = b""
    while b"\r\n" not in head:
        data = connection.recv(65_536)
        if not data:
            return 0
        head += data
    return int(head.split(b" ", 2)[1])
