"""The edge's REST API, as far as the example needs it. `portico api` does the same from a command line."""

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any


class _Local(http.client.HTTPSConnection):
    """Dials this machine, whatever the name."""

    def connect(self) -> None:
        """The name is still what TLS and HTTP are told."""
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


class Api:
    """Asks one edge."""

    def __init__(self, port: int, key: str, ca: Path, domain: str = "localhost") -> None:
        self._host, self._port, self._key = f"api.{domain}", port, key
        self._trust = ssl.create_default_context(cafile=str(ca))

    def __call__(self, method: str, path: str, **body: object) -> Any:
        """What it answers. Raises RuntimeError where it refuses."""
        headers = {"authorization": f"Bearer {self._key}", "ngrok-version": "2", "content-type": "application/json"}
        connection = _Local(self._host, self._port, context=self._trust, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None
