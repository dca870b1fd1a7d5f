"""A visitor over HTTPS, who trusts the edge's own authority and resolves every name to this machine."""

import socket
import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit


class _Local(HTTPSConnection):
    def connect(self) -> None:
        """Dial loopback, whatever the name; the server name (SNI) is the URL's."""
        raw = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(raw, server_hostname=self.host)  # type: ignore[attr-defined]


class Visitor:
    """Asks URLs of one edge."""

    def __init__(self, ca: Path) -> None:
        self._context = ssl.create_default_context(cafile=str(ca))

    def connection(self, url: str) -> HTTPConnection:
        """A keep-alive connection to the host of `url`."""
        parts = urlsplit(url)
        assert parts.hostname
        return _Local(parts.hostname, parts.port or 443, context=self._context, timeout=60)

    def get(self, url: str) -> tuple[int, str]:
        """Status and body of one request on a new connection."""
        connection = self.connection(url)
        try:
            parts = urlsplit(url)
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
