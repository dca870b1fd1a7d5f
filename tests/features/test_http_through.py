"""HTTP as users need it, through the whole of it: visitor, Envoy, relay, agent, upstream."""

import asyncio
import hashlib
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
import websockets

import portico
from kit.edge import RunningEdge
from kit.ports import free_port
from kit.upstream import HttpUpstream
from kit.websocket_bytes import PARTING_SECONDS
from portico.agent.dial import Dialer

MEBIBYTE = 1 << 20
BULK = int(os.environ.get("PORTICO_TEST_BULK_MIB", "256")) * MEBIBYTE
"""Bytes each way; `make test-bulk` takes 10 GiB."""


@pytest.fixture(autouse=True)
def _every_name_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most systems resolve no `*.localhost` (RFC 6761 leaves it to the program)."""
    resolve = socket.getaddrinfo

    def local(host: object, *rest: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        known = isinstance(name, str) and name.endswith(".localhost")
        return resolve("127.0.0.1" if known else host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local)


@pytest.fixture(autouse=True)
async def _no_listener_is_left() -> AsyncIterator[None]:
    yield
    await portico.kill()


@pytest.fixture
def trust(edge: RunningEdge) -> ssl.SSLContext:
    # One for each test: httpx writes its ALPN into the context that it is given.
    return ssl.create_default_context(cafile=str(edge.ca))


async def forward(edge: RunningEdge, addr: str | int, **options: object) -> portico.Listener:
    where = {"authtoken": edge.authtoken, "connect_url": edge.connect_url, "connect_cas": str(edge.ca)}
    return await portico.forward(addr, **where, **options)  # type: ignore[misc, arg-type]


@asynccontextmanager
async def visitor(trust: ssl.SSLContext, *, http2: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(verify=trust, http2=http2)
    async with httpx.AsyncClient(transport=transport, timeout=60, trust_env=False) as client:
        yield client


@asynccontextmanager
async def raw_upstream(serve, port: int = 0) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read_head(reader: asyncio.StreamReader) -> list[str]:
    return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")


@pytest.mark.parametrize("http2", [False, True])
async def test_the_upstream_learns_who_asks_and_for_what(edge: RunningEdge, trust: ssl.SSLContext, http2: bool) -> None:
    async with HttpUpstream() as upstream, visitor(trust, http2=http2) as client:
        url = (await forward(edge, upstream.port)).url()
        answer = await client.get(url + "/path?q=1", headers={"x-forwarded-proto": "gopher"})
        fields = answer.json()["fields"]
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert answer.json()["path"] == "/path?q=1"
        assert fields["host"] == fields["x-forwarded-host"] == urlsplit(url).netloc
        assert fields["x-forwarded-proto"] == "https"
        assert fields["x-forwarded-for"]
        assert not [name for name in fields if name.startswith(("x-edge", "x-portico", "x-envoy"))]


async def test_plain_http_endpoints_and_the_way_to_https(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as upstream, visitor(trust) as client:
        plain = (await forward(edge, upstream.port, schemes=["HTTP"])).url()
        assert plain.startswith("http://")
        assert (await client.get(plain)).json()["fields"]["x-forwarded-proto"] == "http"
        secure = (await forward(edge, upstream.port)).url()
        host = urlsplit(secure).hostname
        answer = await client.get(f"http://{host}:{edge.http_port}/a?b=c")
        assert (answer.status_code, answer.headers["location"]) == (308, f"{secure}/a?b=c")


async def test_websocket_messages_go_both_ways(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        url = (await forward(edge, port)).url()
        options = {"ssl": trust, "max_size": None, "close_timeout": PARTING_SECONDS}
        async with websockets.connect("wss" + url[5:], **options) as connection:  # type: ignore[arg-type]
            for message in ("text", b"\0binary", "x" * MEBIBYTE):
                await connection.send(message)
                assert await connection.recv() == message


async def test_server_sent_events_arrive_while_the_response_goes_on(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    arrived = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await arrived.wait()  # the next event is written only after the visitor has this one
            arrived.clear()
        writer.write(b"0\r\n\r\n")

    async with raw_upstream(serve) as port, visitor(trust, http2=True) as client:
        url = (await forward(edge, port)).url()
        async with client.stream("GET", url) as answer:
            events = []
            async for event in answer.aiter_text():
                events.append(event)
                arrived.set()
        assert events == ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]


async def test_trailers_and_early_hints_pass(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n"
        )

    async with raw_upstream(serve) as port:
        url = urlsplit((await forward(edge, port)).url())
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port, ssl=trust, server_hostname=url.hostname)
        writer.write(f"GET / HTTP/1.1\r\nhost: {url.netloc}\r\nte: trailers\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert b"x-sum: 42" in answer.partition(b"0\r\n")[2]


async def test_grpc_streams_and_its_status_trailers(edge: RunningEdge) -> None:
    async def many(request: bytes, _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for number in range(3):
            yield request + str(number).encode()

    async def failing(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        raise AssertionError

    server = grpc.aio.server()
    handlers = {
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Failing": grpc.unary_unary_rpc_method_handler(failing),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    url = urlsplit((await forward(edge, port, app_protocol="http2")).url())
    credentials = grpc.ssl_channel_credentials(edge.ca.read_bytes())
    options = [("grpc.ssl_target_name_override", url.hostname), ("grpc.default_authority", url.netloc)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{url.port}", credentials, options=options) as channel:
        assert [one async for one in channel.unary_stream("/test.Service/Many")(b"n")] == [b"n0", b"n1", b"n2"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Failing")(b"")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today")
    await server.stop(0)


def resident(pid: int) -> int:
    """Bytes of memory that a process has (VmRSS of proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


BLOCK = bytes(range(256)) * 1024


def expected_digest() -> str:
    digest = hashlib.sha256()
    for _ in range(BULK // len(BLOCK)):
        digest.update(BLOCK)
    return digest.hexdigest()


async def bulk() -> AsyncIterator[bytes]:
    for _ in range(BULK // len(BLOCK)):
        yield BLOCK


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    received, left = hashlib.sha256(), BULK
    while left:
        data = await reader.read(min(left, MEBIBYTE))
        received.update(data)
        left -= len(data)
    body = received.hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def give(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BULK)
    async for block in bulk():
        writer.write(block)
        await writer.drain()


async def serve_bulk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await read_head(reader):
        await (take if head[0].startswith("PUT") else give)(reader, writer)


@pytest.mark.timeout(3600)
async def test_bulk_in_both_directions_is_exact_and_needs_no_memory(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with raw_upstream(serve_bulk) as port, visitor(trust) as client:
        url = (await forward(edge, port)).url()
        before = {name: resident(edge.child(name)) for name in ("envoy", "r0")}
        answer = await client.put(url, content=bulk(), headers={"content-length": str(BULK)})
        assert answer.text == expected_digest()
        received = hashlib.sha256()
        async with client.stream("GET", url) as download:
            async for data in download.aiter_raw():
                received.update(data)
        assert received.hexdigest() == expected_digest()
        for name, size in before.items():
            assert resident(edge.child(name)) - size < 64 * MEBIBYTE, name


@pytest.mark.parametrize("version", [1, 2])
async def test_proxy_protocol_tells_the_upstream_the_visitor(
    edge: RunningEdge, trust: ssl.SSLContext, version: int
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if version == 1:
            header = await reader.readuntil(b"\r\n")
        else:
            header = await reader.readexactly(16)
            header += await reader.readexactly(int.from_bytes(header[14:16], "big"))
        await read_head(reader)
        body = header.hex().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with raw_upstream(serve) as port, visitor(trust) as client:
        url = (await forward(edge, port, proxy_proto=str(version))).url()
        header = bytes.fromhex((await client.get(url)).text)
        if version == 1:
            assert header.startswith(b"PROXY TCP4 ")
        else:
            assert header.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
            assert header[16:20] == bytes([127, 0, 0, 1])


async def test_host_header_rewrite(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as upstream, visitor(trust) as client:
        url = (await forward(edge, upstream.port, request_header_add=["host: shop.internal"])).url()
        assert (await client.get(url)).json()["fields"]["host"] == "shop.internal"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("text/html,*/*", "text/html"), ("application/json", "application/json"), ("*/*", "text/plain")],
)
async def test_an_upstream_that_is_down_is_said_and_recovers(
    edge: RunningEdge, trust: ssl.SSLContext, accept: str, kind: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 204 Up\r\nngrok-error-code: ERR_NGROK_1\r\nportico-error-code: forged\r\n\r\n")
        writer.close()

    async with visitor(trust) as client:
        async with raw_upstream(serve, free_port()) as port:  # which nobody else takes while it is away
            url = (await forward(edge, port)).url()
            assert (await client.get(url)).status_code == 204
        answer = await client.get(url, headers={"accept": accept})
        assert answer.status_code == 502
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["ngrok-error-code"] == "ERR_NGROK_8012"
        assert answer.headers["portico-error-code"] == "PORTICO_8012"
        assert "refused" in answer.text
        if kind == "application/json":
            body = json.loads(answer.text)
            assert (body["error_code"], body["portico_error_code"]) == ("ERR_NGROK_8012", "PORTICO_8012")

        server = await asyncio.start_server(serve, "127.0.0.1", port)
        answer = await client.get(url)
        server.close()
        assert answer.status_code == 204
        assert "ngrok-error-code" not in answer.headers
        assert "portico-error-code" not in answer.headers


async def test_a_kept_connection_that_closes_under_a_request(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    """Each connection answers one request, and closes when it has read a second one."""
    read: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append((await read_head(reader))[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        read.append((await read_head(reader))[0])
        writer.close()

    async with raw_upstream(serve) as port, visitor(trust) as client:
        url = (await forward(edge, port)).url()
        assert [(await client.get(url)).status_code for _ in range(3)] == [200, 200, 200]
        assert read == ["GET / HTTP/1.1"] * 5
        answer = await client.post(url)
        assert (answer.status_code, answer.headers["ngrok-error-code"]) == (502, "ERR_NGROK_8012")
        assert read[5:] == ["POST / HTTP/1.1"]


async def test_an_upstream_that_says_nothing_is_a_gateway_timeout(
    edge: RunningEdge, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Dialer.__init__.__kwdefaults__, "timeout", 1.0)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with raw_upstream(silent) as port, visitor(trust) as client:
        url = (await forward(edge, f"https://127.0.0.1:{port}", verify_upstream_tls=False)).url()
        answer = await client.get(url)
        assert (answer.status_code, answer.headers["portico-error-code"]) == (504, "PORTICO_20021")
        assert "no answer in time" in answer.text


async def test_networks_that_may_not_come_are_told_so(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as upstream, visitor(trust) as client:
        open_url = (await forward(edge, upstream.port, deny_cidr=["203.0.113.0/24"])).url()
        assert (await client.get(open_url)).status_code == 200
        for option in ({"deny_cidr": ["0.0.0.0/0"]}, {"allow_cidr": ["203.0.113.0/24"]}):
            seen = upstream.connections
            url = (await forward(edge, upstream.port, domain="*.guarded.localhost", **option)).url()
            # A wildcard, other letters, a claimed address: nothing leads around.
            host = urlsplit(url).netloc.replace("*", "One")
            answer = await client.get(f"https://{host}/", headers={"x-forwarded-for": "203.0.113.1"})
            assert (answer.status_code, answer.headers["portico-error-code"]) == (403, "PORTICO_20024")
            assert upstream.connections == seen
            await portico.disconnect(url)


async def test_offline_and_unknown_hosts(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as upstream, visitor(trust) as client:
        listener = await forward(edge, upstream.port)
        await listener.close()
        answer = await client.get(listener.url())
        assert (answer.status_code, answer.headers["ngrok-error-code"]) == (404, "ERR_NGROK_3200")
        answer = await client.get(f"http://127.0.0.1:{edge.http_port}/", headers={"host": "nowhere.example"})
        assert (answer.status_code, answer.headers["portico-error-code"]) == (404, "PORTICO_20020")


async def test_wildcards_the_most_specific_name_wins(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as wide, HttpUpstream() as narrow, visitor(trust) as client:
        await forward(edge, wide.port, domain="*.shop.localhost")
        await forward(edge, narrow.port, domain="one.shop.localhost")
        for host, upstream in (("one.shop", narrow), ("two.shop", wide), ("deep.two.shop", wide)):
            seen = upstream.connections
            answer = await client.get(f"https://{host}.localhost:{edge.https_port}/")
            assert answer.status_code == 200
            assert upstream.connections > seen or upstream.open


async def test_a_pool_is_shared_and_its_dead_member_left_out(edge: RunningEdge, trust: ssl.SSLContext) -> None:
    async with HttpUpstream() as first, HttpUpstream() as second:
        listeners = [
            await forward(edge, one.port, domain="pool.localhost", pooling_enabled=True) for one in (first, second)
        ]
        async with visitor(trust) as client:
            for _ in range(20):
                assert (await client.get(listeners[0].url())).status_code == 200
            assert first.connections
            assert second.connections
            await listeners[0].close()
            for _ in range(20):
                assert (await client.get(listeners[1].url())).status_code == 200


async def test_a_directory_is_served_read_only(edge: RunningEdge, trust: ssl.SSLContext, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("hello")
    async with visitor(trust) as client:
        url = (await forward(edge, f"file://{tmp_path}")).url()
        assert (await client.get(f"{url}/page.txt")).text == "hello"
        assert "page.txt" in (await client.get(url)).text
        assert (await client.get(f"{url}/..%2f..%2fetc/passwd")).status_code in (400, 404)
        assert (await client.put(f"{url}/page.txt", content=b"x")).status_code == 405


def test_a_tcp_endpoint_carries_any_bytes(edge: RunningEdge) -> None:
    async def run() -> None:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())  # answers only after the visitor's end of file
            writer.close()

        async with raw_upstream(shout) as port:
            url = urlsplit((await forward(edge, port, proto="tcp")).url())
            reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
            writer.write(b"any bytes")
            writer.write_eof()
            assert await reader.read() == b"ANY BYTES"
            writer.close()

    asyncio.run(run())
