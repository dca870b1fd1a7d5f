"""The services behind the tunnels: nginx for small answers (this program's own where it is missing), own for bulk.

As a program: a uvloop HTTP/1.1 server on one port of the addresses that it is given, with TLS where a certificate and
its key follow; it prints the port. It
answers GET / with a few bytes, GET /endless with bytes without an end, GET /received with how many bytes it was sent
so far, and any other method when the body has ended.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools
import uvloop

from kit import nginx
from kit.polling import eventually
from kit.ports import free_port

_HELLO = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\r\nHello, world!\n"
_ENDLESS = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 1099511627776\r\n\r\n"
_PIECE = bytes(0x40000)


@dataclass(frozen=True)
class Service:
    """A process that serves on a port of 127.0.0.1."""

    port: int
    pid: int
    program: str


@contextlib.contextmanager
def small_answers(directory: Path) -> Iterator[Service]:
    """nginx with one worker, or the program of this file."""
    binary = nginx.program()
    if binary is None:
        with own_service() as service:
            yield service
        return
    port = free_port()
    paths = [f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    server = (
        f'server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "Hello, world!\\n"; }} '
        "keepalive_requests 1000000000; }"
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; default_type text/plain; {' '.join(paths)} {server} }}\n"
    )
    process = subprocess.Popen([binary, "-p", str(directory), "-c", str(config), "-e", str(directory / "nginx.log")])
    try:
        eventually(lambda: (directory / "nginx.pid").read_text().strip())
        yield Service(port, process.pid, "nginx")
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def own_service(*key_pair: Path, addresses: Sequence[str] = ("127.0.0.1",)) -> Iterator[Service]:
    """This file as a process, on the same port of each address."""
    command = [sys.executable, "-m", "benchmarks.service", ",".join(addresses), *map(str, key_pair)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    try:
        yield Service(int(process.stdout.readline()), process.pid, "uvloop and httptools")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Connection(asyncio.Protocol):
    """One visitor."""

    received = 0
    """Bytes of all visitors together."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._endless = False
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        _Connection.received += len(data)
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        if self._url == b"/received":
            number = b"%d" % _Connection.received
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(number), number))
            return
        if self._url != b"/endless" or self._parser.get_method() != b"GET":
            self._transport.write(_HELLO)
            if not self._parser.should_keep_alive():
                self._transport.close()
            return
        self._endless = True
        self._transport.write(_ENDLESS)
        self._send()

    def _send(self) -> None:
        while self._endless and self._writable and not self._transport.is_closing():
            self._transport.write(_PIECE)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send()


async def _serve(addresses: str, *key_pair: str) -> None:
    context = None
    if key_pair:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*key_pair)
    loop, port, servers = asyncio.get_running_loop(), 0, []
    for address in addresses.split(","):
        servers.append(await loop.create_server(_Connection, address, port, ssl=context, backlog=4096))
        port = servers[0].sockets[0].getsockname()[1]
    print(port, flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
