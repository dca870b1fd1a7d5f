import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from kit.agent_server import TOKEN, AgentServer, Visitor, agent_server, until
from kit.client_certificates import VisitorAuthority
from portico.agent.agent import Agent
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.inspector import Inspector
from portico.agent.settings import AgentTls, SessionSettings
from portico.agent.temporary_pem import load_key_pair
from portico.agent.termination import Termination
from portico.agent.upstream import parse_upstream
from portico.agent.upstream_tls import UpstreamTls
from portico.certificates.authority import Authority
from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, UPSTREAM_UNREACHABLE, PorticoError
from portico.tunnel.proxy_protocol import ProxyInfo, ProxyReader

HTTPS = BindRequest(kind=BindKind.HTTPS)
TCP = BindRequest(kind=BindKind.TCP)
TLS = BindRequest(kind=BindKind.TLS)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Echo:
    """An upstream that returns what it gets, after the end of it, and keeps count."""

    def __init__(self) -> None:
        self.port = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            writer.write(await reader.read())
            writer.write_eof()
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[AgentServer]:
    async with agent_server() as server:
        yield server


@pytest.fixture
async def agent(server: AgentServer) -> AsyncIterator[Agent]:
    settings = SessionSettings(edge=EdgeAddress.parse(server.address), authtoken=TOKEN, edge_ca_pem=server.ca)
    agent = Agent(settings, inspector=Inspector())
    await agent.start()
    yield agent
    await agent.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    listening = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = listening.sockets[0].getsockname()[1]
    yield echo
    listening.close()


async def test_bytes_and_half_close_both_ways(server: AgentServer, agent: Agent, echo: Echo) -> None:
    endpoint = await agent.open(TCP, parse_upstream(echo.port, http=False))
    data = bytes(range(256)) * 8192
    visitor = server.visit(endpoint.id, b"first ", proto="tcp")
    visitor.send(data)
    visitor.finish()
    assert await visitor.end() == b"first " + data
    await until(lambda: endpoint.figures.open == 0)
    figures = endpoint.figures
    assert (figures.total, figures.bytes_in, figures.bytes_out) == (1, len(data) + 6, len(data) + 6)
    assert agent.figures.total == 1


async def test_a_visitor_who_leaves_takes_the_upstream_connection_along(
    server: AgentServer, agent: Agent, echo: Echo
) -> None:
    endpoint = await agent.open(TCP, parse_upstream(echo.port, http=False))
    visitor = server.visit(endpoint.id, b"x", proto="tcp")
    await until(lambda: echo.open == 1)
    assert visitor.stream is not None
    visitor.stream.abandon()
    await until(lambda: echo.open == 0 and endpoint.figures.open == 0)


async def test_a_dead_upstream_says_why_and_recovers(server: AgentServer, agent: Agent, echo: Echo) -> None:
    endpoint = await agent.open(HTTPS, parse_upstream(1))
    assert await server.visit(endpoint.id, GET).end() == b""
    await server.until(lambda server: server.failures)
    (failure,) = server.failures
    assert (failure["Id"], failure["Code"]) == (endpoint.id, UPSTREAM_UNREACHABLE.number)
    assert "refused" in failure["Reason"]
    assert "refused" in endpoint.problem
    endpoint.forward_to(parse_upstream(echo.port))
    visitor = server.visit(endpoint.id, GET)
    visitor.finish()
    assert await visitor.end() == GET
    assert endpoint.problem == ""


async def test_a_dead_tcp_upstream_just_ends(server: AgentServer, agent: Agent) -> None:
    endpoint = await agent.open(TCP, parse_upstream(1, http=False))
    assert await server.visit(endpoint.id, proto="tcp").end() == b""
    assert server.failures == []
    await until(lambda: endpoint.figures.open == 0)


@pytest.mark.parametrize("version", [1, 2])
async def test_the_proxy_header_reaches_the_upstream_first(
    server: AgentServer, agent: Agent, echo: Echo, version: int
) -> None:
    endpoint = await agent.open(
        BindRequest(kind=BindKind.TCP, proxy_protocol=version), parse_upstream(echo.port, http=False)
    )
    info = ProxyInfo(("192.0.2.1", 5000), ("192.0.2.2", 443), ((0xE0, b"x"),) if version == 2 else ())
    header = info.encode(version)
    visitor = server.visit(endpoint.id, header[:9], proto="tcp")
    visitor.send(header[9:] + b"payload")
    visitor.finish()
    answer = await visitor.end()
    reader = ProxyReader()
    assert answer == header + b"payload"
    assert reader.feed(answer) == info


async def test_garbage_instead_of_a_proxy_header_ends_the_visit(server: AgentServer, agent: Agent, echo: Echo) -> None:
    endpoint = await agent.open(BindRequest(kind=BindKind.TCP, proxy_protocol=2), parse_upstream(echo.port, http=False))
    assert await server.visit(endpoint.id, b"not a header at all", proto="tcp").end() == b""
    assert echo.open == 0


async def test_a_directory(server: AgentServer, agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    endpoint = await agent.open(HTTPS, parse_upstream(f"file://{tmp_path}"))
    visitor = server.visit(endpoint.id, b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await visitor.end()).endswith(b"\r\n\r\nfrom a file")


async def test_requests_are_captured(server: AgentServer, agent: Agent) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = parse_upstream(listening.sockets[0].getsockname()[1])
    seen = await agent.open(HTTPS, upstream, name="seen")
    unseen = await agent.open(HTTPS, upstream, inspect=False)
    for endpoint in (seen, unseen):
        visitor = server.visit(endpoint.id, GET)
        await visitor.until(lambda visitor: visitor.received == OK)
        visitor.finish()
    assert agent.inspector is not None
    (captured,) = agent.inspector.requests()
    assert (captured.endpoint, captured.status, captured.remote_address) == ("seen", 200, "192.0.2.7:5151")
    listening.close()


async def test_a_stalled_upstream_holds_back_its_visitor_alone(server: AgentServer, agent: Agent, echo: Echo) -> None:
    gate = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    listening = await asyncio.start_server(stall, "127.0.0.1", 0)
    stalled = await agent.open(TCP, parse_upstream(listening.sockets[0].getsockname()[1], http=False))
    quick = await agent.open(TCP, parse_upstream(echo.port, http=False))
    size = 16 * 1024 * 1024
    slow = server.visit(stalled.id, proto="tcp")
    slow.send(bytes(size))
    slow.finish()
    visitor = server.visit(quick.id, b"hello", proto="tcp")
    visitor.finish()
    assert await visitor.end() == b"hello"
    assert slow.stream is not None
    assert slow.stream.queued > size // 2
    gate.set()
    assert await slow.end() == b"%d" % size
    listening.close()


async def test_closing_an_endpoint_cuts_its_visits(server: AgentServer, agent: Agent, echo: Echo) -> None:
    endpoint = await agent.open(TCP, parse_upstream(echo.port, http=False))
    visitor = server.visit(endpoint.id, b"x", proto="tcp")
    await until(lambda: echo.open == 1)
    await endpoint.close()
    assert endpoint.closed
    assert agent.endpoints == []
    await visitor.end()
    await until(lambda: echo.open == 0)


class TlsVisitor:
    """A visitor who speaks TLS through a proxy stream."""

    def __init__(self, visitor: Visitor, context: ssl.SSLContext) -> None:
        self.visitor = visitor
        self._read = 0
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="own.localhost")

    async def do(self, step: "asyncio.Future[object] | object") -> object:
        assert callable(step)
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                received = await self.visitor.until(
                    lambda visitor: len(visitor.received) > self._read or visitor.finished or visitor.over
                )
                if len(received) == self._read:
                    raise ConnectionResetError from None
                self._in.write(received[self._read :])
                self._read = len(received)
            finally:
                self.flush()

    def flush(self) -> None:
        if data := self._out.read():
            self.visitor.send(data)


def tls_pieces() -> tuple[Authority, KeyPair, ssl.SSLContext]:
    authority = Authority.create(datetime.now(UTC))
    pair, _ = authority.issue(["own.localhost"], datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.pem)
    return authority, pair, context


async def test_tls_that_ends_at_the_agent(server: AgentServer, agent: Agent, echo: Echo) -> None:
    _, pair, context = tls_pieces()
    endpoint = await agent.open(TLS, parse_upstream(echo.port, http=False), agent_tls=AgentTls(pair))
    visitor = TlsVisitor(server.visit(endpoint.id, proto="tls"), context)
    await visitor.do(visitor.tls.do_handshake)
    data = b"secret" * 50_000
    view = memoryview(data)
    while view:
        view = view[visitor.tls.write(view) :]
        visitor.flush()
    with pytest.raises(ssl.SSLWantReadError):
        visitor.tls.unwrap()
    visitor.flush()
    visitor.visitor.finish()
    received = b""
    while len(received) < len(data):
        piece = await visitor.do(lambda: visitor.tls.read(65536))
        assert isinstance(piece, bytes)
        received += piece
    assert received == data


async def test_row_1_17_neither_key_nor_certificate_is_in_what_the_edge_is_asked_for(
    server: AgentServer, agent: Agent, echo: Echo
) -> None:
    _, pair, _ = tls_pieces()
    visitors = VisitorAuthority()
    asked = Termination(at="agent", certificate=pair.certificate, key=pair.key, authorities=visitors.pem)
    tls, request = asked.apply(replace(TLS, url="tls://own.localhost"), "own.localhost")
    endpoint = await agent.open(request, parse_upstream(echo.port, http=False), agent_tls=tls)
    assert endpoint.url == "tls://own.localhost"
    sent = json.dumps(server.auths + server.binds)
    for secret in f"{pair.key}{pair.certificate}{visitors.pem}".splitlines():
        assert secret not in sent
        assert base64.b64encode(secret.encode()).decode()[:40] not in sent
    assert server.binds[-1]["Opts"]["TLSTermination"] is None
    assert server.binds[-1]["Opts"]["MutualTLSAtEdge"] is None


async def test_a_refused_request_is_shown_with_its_status(server: AgentServer, agent: Agent) -> None:
    endpoint = await agent.open(HTTPS, parse_upstream(1))
    await server.visit(endpoint.id, GET).end()
    assert agent.inspector is not None
    (captured,) = agent.inspector.requests()
    await until(lambda: captured.duration is not None)
    assert captured.status == 502
    assert captured.response is not None
    assert captured.response.start_line == "HTTP/1.1 502 Bad Gateway"


async def test_what_the_owner_should_know_is_kept(agent: Agent) -> None:
    unverified = await agent.open(HTTPS, parse_upstream("https://localhost:1"))
    assert unverified.warnings == ("https://localhost:1: the upstream's certificate is not verified",)
    verified = await agent.open(HTTPS, parse_upstream("https://localhost:1"), upstream_tls=UpstreamTls(verify=True))
    assert verified.warnings == ()


@pytest.mark.parametrize("certificate", ["none", "good", "foreign"])
async def test_visitors_certificates_are_checked_before_the_upstream_is_dialled(
    server: AgentServer, agent: Agent, echo: Echo, certificate: str
) -> None:
    _, pair, context = tls_pieces()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the visitor learns it in the handshake
    visitors, others = VisitorAuthority(), VisitorAuthority("others")
    if certificate != "none":
        issuer = visitors if certificate == "good" else others
        load_key_pair(context, issuer.issue())
    endpoint = await agent.open(
        TLS, parse_upstream(echo.port, http=False), agent_tls=AgentTls(pair, client_authorities=visitors.pem)
    )
    visitor = TlsVisitor(server.visit(endpoint.id, proto="tls"), context)
    if certificate == "good":
        await visitor.do(visitor.tls.do_handshake)
        await until(lambda: echo.open == 1)
    else:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await visitor.do(visitor.tls.do_handshake)
        await until(lambda: endpoint.figures.open == 0)
        assert echo.open == 0


async def test_certificates_are_checked_when_they_are_given(agent: Agent, echo: Echo) -> None:
    _, pair, _ = tls_pieces()
    _, other, _ = tls_pieces()
    upstream = parse_upstream(echo.port, http=False)
    for tls in (AgentTls(KeyPair(pair.certificate, other.key)), AgentTls(pair, client_authorities="nothing")):
        with pytest.raises(PorticoError) as caught:
            await agent.open(TLS, upstream, agent_tls=tls)
        assert caught.value.code is CERTIFICATE_INVALID
    assert agent.endpoints == []


async def test_a_visitor_who_does_not_begin_is_not_waited_for(
    server: AgentServer, agent: Agent, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.agent.forwarder.GREETING_SECONDS", 0.05)
    _, pair, _ = tls_pieces()
    endpoint = await agent.open(TLS, parse_upstream(echo.port, http=False), agent_tls=AgentTls(pair))
    assert await server.visit(endpoint.id, proto="tls").end() == b""
    await until(lambda: endpoint.figures.open == 0)
    assert echo.open == 0


async def test_no_tls_where_tls_is_awaited(server: AgentServer, agent: Agent, echo: Echo) -> None:
    _, pair, _ = tls_pieces()
    endpoint = await agent.open(TLS, parse_upstream(echo.port, http=False), agent_tls=AgentTls(pair))
    answer = await server.visit(endpoint.id, GET, proto="tls").end()
    assert answer == b"" or answer.startswith(b"\x15")  # an alert
    await until(lambda: endpoint.figures.open == 0)
    assert echo.open == 0
