"""A visitor who does nothing but shake hands: prints how many handshakes he made, each on a connection of its own.

python -m benchmarks.handshaker '{"port": 8443, "host": "app.edge.test", "ca": "ca.pem", "seconds": 3}'
"""

import json
import socket
import ssl
import sys
import time
from typing import Any

REQUEST = "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"


def shake(
    port: int, host: str, ca: str, seconds: float, version: str = "1.3", *, resume: bool = False, pair: str = ""
) -> int:
    """The number of handshakes; `pair` is a PEM file with a certificate and its key."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    if pair:
        context.load_cert_chain(pair)
    session = _session(context, port, host) if resume else None
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        with _connected(context, port, host, session) as visitor:
            if visitor.session_reused is not resume:
                raise RuntimeError(f"resumed: {visitor.session_reused}, wanted: {resume}")
        count += 1
    return count


def _session(context: ssl.SSLContext, port: int, host: str) -> ssl.SSLSession | None:
    """One that may be resumed: in TLS 1.3 its ticket comes behind the handshake, so an answer is read first."""
    with _connected(context, port, host, None) as visitor:
        visitor.sendall(REQUEST.format(host).encode())
        while visitor.recv(65_536):
            pass
        return visitor.session


def _connected(context: ssl.SSLContext, port: int, host: str, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 10)
    return context.wrap_socket(plain, server_hostname=host, session=session)


if __name__ == "__main__":
    options: dict[str, Any] = json.loads(sys.argv[1])
    print(shake(**options))
