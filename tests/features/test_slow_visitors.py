"""A visitor who pauses loses nothing, also where the connection ends with the answer."""

import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

import portico
from kit.edge import RunningEdge
from kit.web_service import web_service

MIB = 1 << 20
SIZE = 2 * MIB
"""Little more than what the kernels hold of an answer that is taken in small segments: with more, the pause of a
visitor lasts as long as a busy machine needs for all the others."""
SEGMENT = 536
PAUSES = range(0, SIZE, 125_000)
"""Where visitors stop reading for a while, in bytes; closer to each other than what Envoy holds (256 KiB)."""
PAUSE_SECONDS = 2.5
"""Longer than the second after which Envoy gives up on such a connection by default."""


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with web_service() as port:
        yield port


def test_a_pause_near_the_end_of_the_last_answer_cuts_nothing_off(edge: RunningEdge, service: int) -> None:
    listener = portico.forward(
        service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
    )
    # Kernels decide how much of an answer they hold: at one of these pauses all the rest of it waits in Envoy.
    with ThreadPoolExecutor(len(PAUSES)) as visitors:
        bodies = list(visitors.map(lambda pause: _download(edge, listener.url(), pause), PAUSES))
    portico.kill()
    assert [body.endswith(b"\r\n0\r\n\r\n") for body in bodies] == [True] * len(PAUSES)
    assert min(map(len, bodies)) > SIZE


def _download(edge: RunningEdge, address: str, pause: int) -> bytes:
    """The chunks of an answer, with a pause after that many bytes."""
    url = urlsplit(address)
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0x1000)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        plain.connect(("127.0.0.1", edge.https_port))
        context = ssl.create_default_context(cafile=str(edge.ca))
        with context.wrap_socket(plain, server_hostname=url.hostname) as visitor:
            request = f"GET /download?{SIZE // MIB} HTTP/1.1\r\nhost: {url.netloc}\r\nconnection: close\r\n\r\n"
            visitor.sendall(request.encode())
            received = _read(visitor, pause)
            time.sleep(PAUSE_SECONDS)
            received += _read(visitor, 2 * SIZE)
    return received.partition(b"\r\n\r\n")[2]


def _read(visitor: ssl.SSLSocket, most: int) -> bytes:
    received = bytearray()
    while len(received) < most and (data := visitor.recv(0x10000)):
        received += data
    return bytes(received)
