import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from portico.agent.dial import Dialer, open_socket
from portico.agent.dial_reason import DialError, DialReason
from portico.agent.temporary_pem import load_key_pair
from portico.agent.upstream import Upstream, UpstreamScheme, parse_upstream
from portico.agent.upstream_tls import UpstreamTls
from portico.certificates.authority import Authority
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

NOW = datetime.now(UTC)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()


@asynccontextmanager
async def upstream(context: ssl.SSLContext | None = None, serve: Serve = echo) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def tls_context(authority: Authority, name: str = "localhost", *, now: datetime = NOW) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_key_pair(context, authority.issue([name], now)[0])
    return context


class Answer(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(exc)


async def exchange(dialer: Dialer, preface: bytes = b"") -> bytes:
    answer = await dialer.connect(Answer, preface)
    assert answer.transport is not None
    answer.transport.write(b"hello")
    await answer.done
    return answer.data


async def reason(dialer: Dialer) -> DialReason:
    with pytest.raises(DialError) as caught:
        await dialer.connect(Answer)
    assert str(dialer.upstream) in caught.value.text
    return caught.value.reason


async def test_tcp_by_name_and_address() -> None:
    async with upstream() as port:
        for host in ("localhost", "app.localhost", "127.0.0.1"):
            assert await exchange(Dialer(parse_upstream(f"{host}:{port}"))) == b"hello"


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    async with await asyncio.start_unix_server(echo, path):
        assert await exchange(Dialer(Upstream(UpstreamScheme.UNIX, path=path))) == b"hello"
    assert await reason(Dialer(Upstream(UpstreamScheme.UNIX, path=str(tmp_path / "none")))) is DialReason.NO_SOCKET


async def test_what_cannot_be_reached() -> None:
    async with upstream() as port:
        pass
    assert await reason(Dialer(parse_upstream(port))) is DialReason.REFUSED
    assert await reason(Dialer(parse_upstream("no-such-host.invalid"))) is DialReason.NAME_NOT_FOUND


async def test_a_silent_upstream_is_given_up() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with upstream(serve=say_nothing) as port:
        assert await reason(Dialer(parse_upstream(f"https://localhost:{port}"), timeout=0.2)) is DialReason.TIMEOUT


async def test_certificates() -> None:
    authority, other = Authority.create(NOW), Authority.create(NOW)
    trusting = UpstreamTls(authorities=authority.pem)
    async with upstream(tls_context(authority)) as port:
        address = parse_upstream(f"https://localhost:{port}")
        assert await exchange(Dialer(address)) == b"hello"
        assert await exchange(Dialer(address, trusting)) == b"hello"
        assert await reason(Dialer(address, UpstreamTls(verify=True))) is DialReason.TLS_UNTRUSTED
        assert await reason(Dialer(address, UpstreamTls(authorities=other.pem))) is DialReason.TLS_UNTRUSTED
        renamed = UpstreamTls(authorities=authority.pem, server_name="example.com")
        assert await reason(Dialer(address, renamed)) is DialReason.TLS_WRONG_NAME
        by_address = parse_upstream(f"https://127.0.0.1:{port}")
        assert await reason(Dialer(by_address, trusting)) is DialReason.TLS_WRONG_NAME
    async with upstream(tls_context(authority, now=NOW - timedelta(days=1000))) as port:
        assert await reason(Dialer(parse_upstream(f"https://localhost:{port}"), trusting)) is DialReason.TLS_EXPIRED


async def test_not_tls_at_all() -> None:
    async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with upstream(serve=speak_http) as port:
        assert await reason(Dialer(parse_upstream(f"https://localhost:{port}"))) is DialReason.NOT_TLS


async def test_a_demanded_client_certificate() -> None:
    authority = Authority.create(NOW)
    context = tls_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells it only after the handshake
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem)
    async with upstream(context) as port:
        failed = await reason(Dialer(parse_upstream(f"https://localhost:{port}")))
    assert failed in (DialReason.TLS_CLIENT_CERTIFICATE, DialReason.TLS_FAILED, DialReason.CLOSED)


async def test_the_protocol_is_offered() -> None:
    context = tls_context(Authority.create(NOW))
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with upstream(context) as port:
        for protocol in ("h2", "http/1.1"):
            answer = await Dialer(parse_upstream(f"https://localhost:{port}"), protocols=(protocol,)).connect(Answer)
            assert answer.transport is not None
            assert answer.transport.get_extra_info("ssl_object").selected_alpn_protocol() == protocol
            answer.transport.abort()


async def test_a_preface_goes_before_plain_bytes() -> None:
    async with upstream() as port:
        dialer = Dialer(parse_upstream(port))
        answer = await dialer.connect(Answer, b"PROXY UNKNOWN\r\n")
        await answer.done
        assert answer.data == b"PROXY UNKNOWN\r\n"


def test_cas_that_are_none() -> None:
    with pytest.raises(PorticoError) as caught:
        Dialer(parse_upstream("https://localhost"), UpstreamTls(authorities="nothing"))
    assert caught.value.code is CERTIFICATE_INVALID


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """The port of a listener whose queue has no room: a further handshake waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_connects_whether_or_not_it_is_done_at_once(
    new_loop: Callable[[], asyncio.AbstractEventLoop], platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with upstream() as port:
            with monkeypatch.context() as patched:
                patched.setattr(sys, "platform", platform)
                sock = await open_socket(socket.AF_INET, ("127.0.0.1", port))
            assert sock.getpeername() == ("127.0.0.1", port)
            sock.close()
        with pytest.raises(ConnectionRefusedError):
            await open_socket(socket.AF_INET, ("127.0.0.1", port))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def test_gives_up_a_handshake_that_waits(full_backlog: int) -> None:
    dialer = Dialer(parse_upstream(f"127.0.0.1:{full_backlog}"), timeout=0.2)
    with pytest.raises(DialError) as caught:
        await dialer.connect(Answer)
    assert caught.value.reason is DialReason.TIMEOUT
