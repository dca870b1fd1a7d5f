"""Zero-knowledge TLS, recorded: every byte between Envoy and the relay, where no TLS of the edge's own is around it.

Row 1.25 of the seeds. The relay's sockets are moved aside and a recording go-between listens in their places.
"""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import portico
from kit.client_certificates import SERVER, VisitorAuthority, written
from kit.curl import curl
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.recorder import recording_upstream
from kit.rows import row
from kit.tls_edge import DOMAIN, TlsEdge
from portico.model.endpoint import KeyPair

MARKER = "plaintext-that-nobody-on-the-way-may-read"
HOST = "secret.example.com"
owner = VisitorAuthority("owner")
PAIR = owner.issue(HOST, dns=[HOST], usage=SERVER)
V2 = b"\r\n\r\n\0\r\nQUIT\n"
"""How a PROXY header of version 2 begins."""


@dataclass
class Tape:
    """The connections that came through one socket, both ways each."""

    there: list[bytearray] = field(default_factory=list)
    back: list[bytearray] = field(default_factory=list)

    def all(self) -> bytes:
        """Everything."""
        return b"".join([*self.there, *self.back])


@contextlib.contextmanager
def recorded(path: Path) -> Iterator[Tape]:
    """Put a go-between into the place of a listening Unix socket."""
    real, tape = path.with_name(path.name + "r"), Tape()
    path.rename(real)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)
    carrying: list[threading.Thread] = []

    def carry(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                kept.extend(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = listening.accept()
                relay = socket.socket(socket.AF_UNIX)
                relay.connect(str(real))
                tape.there.append(bytearray())
                tape.back.append(bytearray())
                for pieces in ((visitor, relay, tape.there[-1]), (relay, visitor, tape.back[-1])):
                    carrying.append(threading.Thread(target=carry, args=pieces, daemon=True))
                    carrying[-1].start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield tape
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in carrying:  # what is still on its way belongs to the tape
            thread.join(60)
        path.unlink()
        real.rename(path)


def relay_dir(edge: RunningEdge) -> Path:
    """Where the relay's sockets are."""
    envoy = eventually(lambda: edge.child("envoy"))
    arguments = Path(f"/proc/{envoy}/cmdline").read_bytes().split(b"\0")
    return Path(arguments[arguments.index(b"--config-path") + 1].decode()).parent / "r0"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TlsEdge, Tape]]:
    """An edge whose agents' sessions are recorded."""
    directory = tmp_path_factory.mktemp("tls-edge")
    with (
        running_edge(directory, "--domain", DOMAIN) as edge,
        recording_upstream() as upstream,
        recorded(relay_dir(edge) / "agents.sock") as tape,
    ):
        yield TlsEdge(edge, upstream, directory), tape
        portico.kill()


@contextlib.contextmanager
def new_bind_recorded(tls: TlsEdge, before: set[Path]) -> Iterator[Tape]:
    (path,) = [each for each in relay_dir(tls.edge).glob("*.sock") if each not in before]
    with recorded(path) as tape:
        yield tape


def sockets(tls: TlsEdge) -> set[Path]:
    return set(relay_dir(tls.edge).glob("*.sock"))


@contextlib.contextmanager
def tls_upstream(directory: Path, plain_port: int) -> Iterator[int]:
    """A service that ends TLS itself, in front of the plain one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*written(PAIR, directory, "upstream"))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listening.accept()
                with (
                    contextlib.suppress(OSError),
                    context.wrap_socket(raw, server_side=True) as visitor,
                    socket.create_connection(("127.0.0.1", plain_port)) as plain,
                ):
                    plain.sendall(visitor.recv(65_536))
                    visitor.sendall(plain.recv(65_536))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def visit(tls: TlsEdge) -> None:
    """A request with the marker in it, which the answer repeats; the visitor trusts the owner alone."""
    ca = tls.directory / "owner.pem"
    ca.write_text(owner.pem)
    answer = curl(f"https://{HOST}:{tls.port}/{MARKER}", ca, "--http1.1", "-H", "Connection: close")
    assert answer.status == 200
    assert MARKER in answer.body
    assert MARKER.encode() in tls.upstream.received


def assert_tls_records_alone(data: bytes, first: int) -> None:
    """Nothing but whole TLS records (RFC 8446, 5.1), the first of them a handshake message of type `first`."""
    assert (data[0], data[5]) == (22, first)
    position = 0
    while position < len(data):
        kind, version, length = data[position], data[position + 1 : position + 3], data[position + 3 : position + 5]
        assert kind in (20, 21, 22, 23)
        assert version in (b"\x03\x01", b"\x03\x03")
        assert 0 < int.from_bytes(length) <= (1 << 14) + 256
        position += 5 + int.from_bytes(length)
    assert position == len(data)


def behind_proxy_header(data: bytes) -> bytes:
    """What follows the PROXY header that the edge puts first."""
    assert data.startswith(V2)
    return data[16 + int.from_bytes(data[14:16]) :]


def secrets_of(pair: KeyPair) -> list[bytes]:
    """The key in every form that it might travel in: PEM lines, DER, and base64 of the PEM (as in a bind)."""
    lines = pair.key.strip().splitlines()
    body = "".join(lines[1:-1])
    encoded = base64.b64encode(pair.key.encode())
    return [*(line.encode() for line in lines[1:-1]), base64.b64decode(body), encoded, b"PRIVATE KEY"]


def assert_blind(tls: TlsEdge, tape: Tape, heard: bytes) -> None:
    """`heard`: what the session carried meanwhile, whose inside is the muxer's frames and the same TLS records."""
    assert len(tape.there) == 1
    to_relay, from_relay = behind_proxy_header(bytes(tape.there[0])), bytes(tape.back[0])
    assert_tls_records_alone(to_relay, first=1)  # ClientHello
    assert_tls_records_alone(from_relay, first=2)  # ServerHello
    assert to_relay[:200] in heard
    for secret in (MARKER.encode(), *secrets_of(PAIR)):
        assert secret not in tape.all()
        assert secret not in heard
    assert MARKER not in tls.edge.log.read_text()


@row(
    "1.25",
    by_hand="""
    portico tls 4433 --domain app.example.com
    visit --cacert ca.pem https://app.example.com
    openssl s_client -connect 127.0.0.1:8443 -servername app.example.com -showcerts
    """,
)
def test_row_1_25_ended_at_the_upstream(session: tuple[TlsEdge, Tape]) -> None:
    tls, spoken = session
    before = sockets(tls)
    with tls_upstream(tls.directory, tls.upstream.port) as port, tls.serving(f"tls://{HOST}", port=port):
        with new_bind_recorded(tls, before) as tape:
            visit(tls)
        assert_blind(tls, tape, spoken.all())


def test_row_1_25_ended_at_the_agent(session: tuple[TlsEdge, Tape]) -> None:
    tls, spoken = session
    before = sockets(tls)
    pair = {"crt": PAIR.certificate, "key": PAIR.key}
    with tls.serving(f"tls://{HOST}", terminate_at="agent", **pair):
        with new_bind_recorded(tls, before) as tape:
            visit(tls)
        assert_blind(tls, tape, spoken.all())


def test_the_recording_hears_what_is_said_aloud(session: tuple[TlsEdge, Tape]) -> None:
    """Without this the tests above could pass deaf: where TLS ends at the edge, marker and key do pass."""
    tls, spoken = session
    before = sockets(tls)
    pair = {"crt": PAIR.certificate, "key": PAIR.key}
    with tls.serving(f"tls://{HOST}", terminate_at="edge", **pair):
        with new_bind_recorded(tls, before) as tape:
            visit(tls)
        assert MARKER.encode() in behind_proxy_header(bytes(tape.there[0]))
        assert MARKER.encode() in spoken.all()
        assert secrets_of(PAIR)[-2][:40] in spoken.all()
