"""The SDK against a real edge: blocking, in a running loop, in threads, in forks; what closing leaves."""

import asyncio
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import portico
from kit.client_certificates import VisitorAuthority
from kit.edge import RunningEdge
from kit.polling import eventually
from kit.visit import visit, visit_async
from portico import PorticoError
from portico.model.errors import (
    ALREADY_ONLINE,
    AUTHTOKEN_UNKNOWN,
    CERTIFICATE_INVALID,
    OPTION_INVALID,
    SESSION_CLOSED,
    UPSTREAM_INVALID,
)

pytestmark = pytest.mark.usefixtures("sdk_environment")


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"hello {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hello() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def port(hello: http.server.ThreadingHTTPServer) -> int:
    return int(hello.server_address[1])


def test_blocking(edge: RunningEdge, port: int) -> None:
    listener = portico.forward(port, metadata="m")
    assert visit(edge, listener.url(), "/x").text == "hello /x"
    assert (listener.proto(), listener.metadata(), listener.labels()) == ("https", "m", {})
    assert listener.forwards_to() == f"http://localhost:{port}"
    assert listener.id()
    assert portico.get_listeners() == [listener]
    listener.close()
    listener.close()
    assert portico.get_listeners() == []
    assert visit(edge, listener.url()).status_code == 404


async def test_in_a_running_loop(edge: RunningEdge, port: int) -> None:
    listener = await portico.forward(port)
    assert (await visit_async(edge, listener.url(), "/x")).text == "hello /x"
    await listener.close()
    assert portico.get_listeners() == []
    first, second = await asyncio.gather(portico.forward(port), portico.forward(port))
    assert first.url() != second.url()
    await portico.disconnect(first.url())
    assert portico.get_listeners() == [second]
    await portico.kill()


def test_in_threads(edge: RunningEdge, port: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        listeners = list(threads.map(portico.forward, [port] * 4))
    assert len({listener.url() for listener in listeners}) == 4
    for listener in listeners:
        assert visit(edge, listener.url()).status_code == 200


def test_a_loop_in_another_thread_does_not_matter(edge: RunningEdge, port: int) -> None:
    async def blocking_call() -> str:
        return await asyncio.to_thread(lambda: portico.forward(port).url())

    assert visit(edge, asyncio.run(blocking_call())).status_code == 200


def test_a_context_manager(edge: RunningEdge, port: int) -> None:
    with portico.forward(port) as listener:
        assert visit(edge, listener.url()).status_code == 200
    assert listener.closed


def test_named_domains_and_names_that_are_taken(edge: RunningEdge, port: int) -> None:
    listener = portico.forward(port, domain="mine.localhost")
    assert listener.url() == f"https://mine.localhost:{edge.https_port}"
    with pytest.raises(PorticoError) as caught:
        portico.forward(port, domain="mine.localhost", force_new_session=True)
    assert caught.value.code is ALREADY_ONLINE


def test_tcp(edge: RunningEdge, port: int) -> None:
    listener = portico.forward(port, "tcp")
    assert listener.url().startswith("tcp://")
    assert visit(edge, listener.url(), "/tcp").text == "hello /tcp"
    assert portico.connect(port, url="tcp://").proto() == "tcp"


def test_a_unix_socket_and_a_directory(edge: RunningEdge, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    assert visit(edge, portico.forward(f"file://{tmp_path}").url(), "/a.txt").text == "from a file"
    listener = portico.forward(f"unix:{tmp_path}/none.sock")
    answer = visit(edge, listener.url())
    assert answer.status_code == 502
    assert answer.headers["ngrok-error-code"] == "ERR_NGROK_8012"
    assert "no such socket" in answer.text


def test_an_upstream_that_is_down_and_comes_back(edge: RunningEdge, port: int) -> None:
    listener = portico.forward(1)
    answer = visit(edge, listener.url())
    assert answer.status_code == 502
    assert "refused" in answer.text
    listener.forward(port)
    assert visit(edge, listener.url()).status_code == 200


def test_tls_that_ends_in_this_process(edge: RunningEdge, port: int, tmp_path: Path) -> None:
    visitors = VisitorAuthority()
    pair = _own_pair(tmp_path)
    listener = portico.forward(
        port, "tls", domain="own.localhost", terminate_at="agent", crt=pair[0], key=pair[1], mutual_tls_cas=visitors.pem
    )
    good = visitors.issue()
    (tmp_path / "good.pem").write_text(good.certificate + good.key)
    context = ssl.create_default_context(cadata=pair[2])
    context.load_cert_chain(tmp_path / "good.pem")
    assert listener.url() == f"tls://own.localhost:{edge.https_port}"
    assert b"hello /" in _get(edge, "own.localhost", context)
    bare = ssl.create_default_context(cadata=pair[2])
    assert _get(edge, "own.localhost", bare) == b""


def _own_pair(directory: Path) -> tuple[str, str, str]:
    from datetime import UTC, datetime

    from portico.certificates.authority import Authority

    authority = Authority.create(datetime.now(UTC))
    pair, _ = authority.issue(["own.localhost"], datetime.now(UTC))
    return pair.certificate, pair.key, authority.pem


def _get(edge: RunningEdge, host: str, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", edge.https_port), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        with suppress(ssl.SSLError, ConnectionError):  # TLS 1.3 refuses a visitor after the handshake
            while piece := connection.recv(65_536):
                received += piece
        return received


def test_errors(port: int) -> None:
    for call, code in (
        (lambda: portico.forward(port, authtoken="wrong", force_new_session=True), AUTHTOKEN_UNKNOWN),
        (lambda: portico.forward("http://"), UPSTREAM_INVALID),
        (lambda: portico.forward(True), OPTION_INVALID),
        (lambda: portico.forward(port, "udp"), OPTION_INVALID),  # type: ignore[arg-type]
        (lambda: portico.forward(port, domian="x"), OPTION_INVALID),  # type: ignore[call-arg]
        (lambda: portico.forward(port, connect_cas="/no/such/file"), CERTIFICATE_INVALID),
        (lambda: portico.forward(port, proto="http", url="tcp://"), OPTION_INVALID),
    ):
        with pytest.raises(PorticoError) as caught:
            call()
        assert caught.value.code is code
    assert portico.get_listeners() == []


def test_a_session_that_could_not_start_is_in_nobody_s_way(edge: RunningEdge, port: int) -> None:
    listener = portico.forward(port)
    with pytest.raises(PorticoError, match="not known"):
        portico.forward(port, authtoken="nobody's authtoken at all")
    listener.close()
    assert portico.get_listeners() == []


async def test_errors_in_a_running_loop(port: int) -> None:
    with pytest.raises(PorticoError) as caught:
        await portico.forward(port, authtoken="wrong", force_new_session=True)
    assert caught.value.code is AUTHTOKEN_UNKNOWN


def test_a_token_set_for_all(edge: RunningEdge, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTICO_AUTHTOKEN")
    portico.set_auth_token(edge.authtoken)
    try:
        assert portico.forward(port).url()
    finally:
        portico.set_auth_token("")


def test_join_ends_with_the_listener(port: int) -> None:
    listener = portico.forward(port)
    waiting = threading.Thread(target=listener.join)
    waiting.start()
    listener.close()
    waiting.join(30)
    assert not waiting.is_alive()


def test_kill_and_begin_again(edge: RunningEdge, port: int) -> None:
    first = portico.forward(port)
    portico.kill()
    assert first.closed
    assert visit(edge, portico.forward(port).url()).status_code == 200


def test_a_process_that_exits_says_goodbye(edge: RunningEdge, port: int) -> None:
    program = f"import portico; print(portico.forward({port}, domain='bye.localhost').url())"
    for _ in range(2):  # the name is free again at once
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=edge.agent_environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == f"https://bye.localhost:{edge.https_port}"
        assert done.stderr == ""


def test_a_fork_starts_with_nothing(edge: RunningEdge, port: int) -> None:
    program = f"""
import os, portico
listener = portico.forward({port})
child = os.fork()
if child == 0:
    assert portico.get_listeners() == []
    try:
        listener.close()
    except portico.PorticoError as error:
        assert error.code.number == {SESSION_CLOSED.number}, error
        assert "fork" in str(error)
    assert portico.forward({port}).url() != listener.url()
    portico.kill()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert portico.get_listeners() == [listener]
"""
    subprocess.run([sys.executable, "-c", program], env=edge.agent_environment, check=True, timeout=60)


def test_nothing_is_left_behind(port: int) -> None:
    portico.forward(port).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        portico.listen().close()
        portico.forward(port).close()
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)  # a session's end closes its socket a little later
