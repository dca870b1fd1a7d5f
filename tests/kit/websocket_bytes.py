"""Visitors of endpoints with the WebSocket converter, who send a TCP protocol's bytes as messages."""

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PARTING_SECONDS = 0.1
"""How long visitors wait after both Close frames: Envoy leaves it to them for 5 s to end the connection."""


@contextlib.contextmanager
def websocket(url: str, ca: Path, **options: Any) -> Iterator[ClientConnection]:
    """A WebSocket to an endpoint's URL on this machine."""
    parts = urlsplit(url)
    with socket.create_connection(("127.0.0.1", parts.port or 443)) as raw:
        trust = ssl.create_default_context(cafile=str(ca))
        address = parts._replace(scheme="wss").geturl()
        with connect(
            address, sock=raw, ssl=trust, server_hostname=parts.hostname, proxy=None, max_size=None, **options
        ) as connection:
            yield connection


def read_all(connection: ClientConnection) -> bytes:
    """All bytes until the edge's Close."""
    pieces: list[bytes] = []
    patience = time.monotonic() + 60
    with contextlib.suppress(ConnectionClosed):
        while True:
            try:
                message = connection.recv(0.05)
            except TimeoutError:
                assert time.monotonic() < patience
                if connection.protocol.close_rcvd is not None:
                    # It would tell of the Close only when the connection ends.
                    with contextlib.suppress(OSError):
                        connection.socket.shutdown(socket.SHUT_RDWR)
                continue
            assert isinstance(message, bytes)
            pieces.append(message)
            patience = time.monotonic() + 60
    return b"".join(pieces)


def ask(url: str, ca: Path, request: bytes) -> bytes:
    """What an upstream answers that closes after its answer."""
    with websocket(url, ca, close_timeout=PARTING_SECONDS) as connection:
        connection.send(request)
        return read_all(connection)


def main() -> None:
    """`python -m kit.websocket_bytes URL CA`: standard input and output as the bytes, as for ssh's ProxyCommand."""
    url, ca = sys.argv[1:]
    with websocket(url, Path(ca)) as connection:

        def read() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    os.write(1, connection.recv())  # type: ignore[arg-type]

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        with contextlib.suppress(ConnectionClosed):
            while data := os.read(0, 1 << 16):
                connection.send(data)


if __name__ == "__main__":
    main()
