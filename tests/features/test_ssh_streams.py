"""What goes through the channels of `ssh -R`: bulk both ways, half-closes, visitors who stop reading."""

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from kit.edge import RunningEdge
from kit.polling import eventually
from kit.ssh import SshUser
from kit.visit import trust

MEGABYTES = 64
BLOCK = random.Random(1).randbytes(1 << 20)


@pytest.fixture(scope="module")
def user(edge: RunningEdge, tmp_path_factory: pytest.TempPathFactory) -> SshUser:
    known = SshUser(edge, tmp_path_factory.mktemp("ssh"))
    known.register()
    return known


@contextlib.contextmanager
def upstream(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serves each connection in a thread of its own, and closes it then; yields the port."""

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            serve(connection)

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listening,), daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def dial(url: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
    connection.settimeout(60)
    return connection


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 18), b""))


def send_bulk(connection: socket.socket) -> None:
    for _ in range(MEGABYTES):
        connection.sendall(BLOCK)
    connection.shutdown(socket.SHUT_WR)


def digest_of_rest(connection: socket.socket) -> str:
    digest = hashlib.sha256()
    while data := connection.recv(1 << 18):
        digest.update(data)
    return digest.hexdigest()


def expected() -> str:
    digest = hashlib.sha256()
    for _ in range(MEGABYTES):
        digest.update(BLOCK)
    return digest.hexdigest()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65_536):
        connection.sendall(data)


def test_bulk_both_ways_at_once_keeps_its_digest(user: SshUser) -> None:
    received: list[str] = []

    def exchange(connection: socket.socket) -> None:
        with ThreadPoolExecutor() as threads:
            sending = threads.submit(send_bulk, connection)
            received.append(digest_of_rest(connection))
            sending.result()

    with upstream(exchange) as port, user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url):
        wanted = expected()
        with dial(url) as visitor, ThreadPoolExecutor() as threads:
            sending = threads.submit(send_bulk, visitor)
            assert digest_of_rest(visitor) == wanted
            sending.result()
        eventually(lambda: received)  # what was sent may still be under way
        assert received == [wanted]


def test_a_visitor_who_has_finished_still_gets_the_answer(user: SshUser) -> None:
    with (
        upstream(lambda connection: connection.sendall(b"got " + read_all(connection))) as port,
        user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url),
        dial(url) as visitor,
    ):
        visitor.sendall(b"question")
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor) == b"got question"


def test_an_upstream_that_has_finished_still_gets_the_rest(user: SshUser) -> None:
    rest: list[bytes] = []
    arrived = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"enough")
        connection.shutdown(socket.SHUT_WR)
        rest.append(read_all(connection))
        arrived.set()

    with upstream(serve) as port, user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url):
        with dial(url) as visitor:
            assert read_all(visitor) == b"enough"
            visitor.sendall(b"more")
        assert arrived.wait(30)
        assert rest == [b"more"]


def test_an_upstream_that_speaks_first(user: SshUser) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        echo(connection)

    with (
        upstream(serve) as port,
        user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url),
        dial(url) as visitor,
    ):
        assert visitor.recv(100) == b"220 ready\r\n"


def test_the_upstream_s_end_reaches_the_visitor_and_back(user: SshUser) -> None:
    gone = threading.Event()

    def serve(connection: socket.socket) -> None:
        if connection.recv(100) == b"leave":
            return
        read_all(connection)
        gone.set()

    with upstream(serve) as port, user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url):
        with dial(url) as visitor:
            visitor.sendall(b"leave")
            assert read_all(visitor) == b""
        with dial(url) as visitor:
            visitor.sendall(b"stay")
        assert gone.wait(30)


def test_a_kept_connection_that_closes_under_a_request(user: SshUser, edge: RunningEdge) -> None:
    read: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        read.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        read.append(connection.recv(65_536))

    with upstream(serve) as port, user.forward("-R", f"0:localhost:{port}", user.door, "http") as (_, url):
        parts = urlsplit(url)

        def ask(method: str) -> httpx.Response:
            # One visitor's connection stays with one thread of Envoy, and so with one pool of connections to the relay.
            sni = {"sni_hostname": parts.hostname}
            return visitor.request(
                method, f"https://127.0.0.1:{parts.port}/", headers={"host": parts.netloc}, extensions=sni
            )

        with httpx.Client(verify=trust(edge), timeout=60, trust_env=False) as visitor:
            assert [ask("GET").status_code for _ in range(3)] == [200, 200, 200]
            assert [request[:4] for request in read] == [b"GET "] * 5
            answer = ask("POST")
        assert (answer.status_code, answer.headers["ngrok-error-code"]) == (502, "ERR_NGROK_8012")
        assert [request[:4] for request in read[5:]] == [b"POST"]


def test_visitors_who_do_not_read_stop_nobody_else(user: SshUser, edge: RunningEdge) -> None:
    def serve(connection: socket.socket) -> None:
        if connection.recv(1) == b"f":
            while True:
                connection.sendall(BLOCK)
        echo(connection)

    with upstream(serve) as port, user.forward("-R", f"0:127.0.0.1:{port}", user.door, "tcp") as (_, url):
        with contextlib.ExitStack() as held:
            stalled = [held.enter_context(dial(url)) for _ in range(20)]
            for visitor in stalled:
                visitor.sendall(b"f")
                visitor.recv(1)
            with dial(url) as visitor:
                visitor.sendall(b"e")
                for _ in range(50):
                    visitor.sendall(BLOCK[:32_768])
                    seen = 0
                    while seen < 32_768:
                        seen += len(visitor.recv(65_536))
            memory = resident_memory(edge.child("ssh0"))
        # 20 windows, what Envoy's and the process's own sockets hold, and the process itself.
        assert memory < 200 << 20


def resident_memory(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
