"""What a policy must not break: gRPC of every kind, trailers both ways, uploads and downloads in flat memory."""

import asyncio
import contextlib
import hashlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

import portico
from kit.edge import RunningEdge

MEBIBYTE = 1 << 20
BULK = int(os.environ.get("PORTICO_TEST_BULK_MIB", "256")) * MEBIBYTE
BLOCK = bytes(range(256)) * 1024
LIMIT = {"name": "l", "algorithm": "sliding_window", "capacity": 1000, "rate": "60s", "bucket_key": ["conn.client_ip"]}


def policy(*more: dict, response: tuple[dict, ...] = ()) -> str:
    """Header rules of both directions, an expression and a rate limit; `more` actions of a request after them."""
    request = [
        {"type": "add-headers", "config": {"headers": {"x-in": "${req.method}"}}},
        {"type": "remove-headers", "config": {"headers": ["x-gone"]}},
        {"type": "rate-limit", "config": LIMIT},
    ]
    return json.dumps(
        {
            "on_http_request": [
                {"expressions": ["req.url.path != '/none'"], "actions": request},
                *({"actions": [one]} for one in more),
            ],
            "on_http_response": [
                {"expressions": ["res.status_code < 500"], "actions": [ADDED]},
                *({"actions": [one]} for one in response),
            ],
        }
    )


ADDED = {"type": "add-headers", "config": {"headers": {"x-out": "${res.status_code}"}}}
REPLACED = {"replacements": [{"from": "cat", "to": "dog"}]}


@pytest.fixture(autouse=True)
async def _no_listener_is_left() -> AsyncIterator[None]:
    yield
    await portico.kill()


async def forward(edge: RunningEdge, port: int, text: str, **options: object) -> str:
    where = {"authtoken": edge.authtoken, "connect_url": edge.connect_url, "connect_cas": str(edge.ca)}
    return (await portico.forward(port, traffic_policy=text, **where, **options)).url()  # type: ignore[misc, arg-type]


async def same(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    metadata = dict(context.invocation_metadata() or ())
    context.set_trailing_metadata((("saw", f"{metadata.get('x-in')} {metadata.get('x-gone')}"), ("bin-bin", b"\0\xff")))
    return request


async def joined(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> bytes:
    return b"+".join([one async for one in requests])


async def many(request: bytes, _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for number in range(3):
        yield request + str(number).encode()


async def echo(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    async for one in requests:
        yield one


async def failing(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today", (("why", "raining"),))
    raise AssertionError


HANDLERS = {
    "Same": grpc.unary_unary_rpc_method_handler(same),
    "Joined": grpc.stream_unary_rpc_method_handler(joined),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Failing": grpc.unary_unary_rpc_method_handler(failing),
}


@pytest.fixture
async def service() -> AsyncIterator[int]:
    """The port of a gRPC server without TLS."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(0)


@asynccontextmanager
async def channel(edge: RunningEdge, url: str) -> AsyncIterator[grpc.aio.Channel]:
    parts = urlsplit(url)
    credentials = grpc.ssl_channel_credentials(edge.ca.read_bytes())
    options = [("grpc.ssl_target_name_override", parts.hostname), ("grpc.default_authority", parts.netloc)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{parts.port}", credentials, options=options) as opened:
        yield opened


async def test_grpc_of_every_kind(edge: RunningEdge, service: int) -> None:
    url = await forward(edge, service, policy(), app_protocol="http2")
    async with channel(edge, url) as opened:
        call = opened.unary_unary("/test.Service/Same")(b"one", metadata=(("x-gone", "1"),))
        assert await call == b"one"
        trailers = dict(await call.trailing_metadata())
        assert (trailers["saw"], trailers["bin-bin"]) == ("POST None", b"\0\xff")
        assert dict(await call.initial_metadata())["x-out"] == "200"
        large = os.urandom(3 * MEBIBYTE)
        assert await opened.unary_unary("/test.Service/Same")(large) == large
        assert await opened.stream_unary("/test.Service/Joined")(iter([b"a", b"b", b"c"])) == b"a+b+c"
        assert [one async for one in opened.unary_stream("/test.Service/Many")(b"n")] == [b"n0", b"n1", b"n2"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened.unary_unary("/test.Service/Failing")(b"")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today")
        assert dict(caught.value.trailing_metadata())["why"] == "raining"


async def test_a_grpc_conversation_is_not_held_back(edge: RunningEdge, service: int) -> None:
    """Each message is written only when the answer to the one before is there."""
    url = await forward(edge, service, policy(), app_protocol="http2")
    async with channel(edge, url) as opened:
        talk = opened.stream_stream("/test.Service/Echo")()
        for number in range(10):
            await talk.write(str(number).encode())
            assert await talk.read() == str(number).encode()
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF
        assert await talk.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ({"type": "deny", "config": {"status_code": 403}}, grpc.StatusCode.PERMISSION_DENIED),
        ({"type": "deny", "config": {"status_code": 401}}, grpc.StatusCode.UNAUTHENTICATED),
        ({"type": "rate-limit", "config": {**LIMIT, "name": "few", "capacity": 1}}, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_what_a_policy_refuses_has_grpcs_own_status(
    edge: RunningEdge, service: int, action: dict, code: grpc.StatusCode
) -> None:
    url = await forward(edge, service, policy(action), app_protocol="http2")
    async with channel(edge, url) as opened:
        calls = [opened.unary_unary("/test.Service/Same")(b"") for _ in range(3)]
        assert code in [await call.code() for call in calls]


@asynccontextmanager
async def raw_upstream(serve: object) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    "text",
    [
        policy(),
        policy(
            {"type": "request-body-find-replace", "config": REPLACED},
            response=({"type": "response-body-find-replace", "config": REPLACED},),
        ),
    ],
    ids=["headers", "bodies"],
)
async def test_trailers_go_both_ways(edge: RunningEdge, text: str) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        rest = b""
        while not rest.endswith(b"\r\n\r\n") and (b"chunked" in head.lower()):
            rest += await reader.read(1 << 16)
        seen.append(head.lower() + rest)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        writer.write(b"5\r\na cat\r\n0\r\nx-sum: 42\r\n\r\n")

    trust = ssl.create_default_context(cafile=str(edge.ca))
    async with raw_upstream(serve) as port:
        url = urlsplit(await forward(edge, port, text))
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port, ssl=trust, server_hostname=url.hostname)
        head = f"POST / HTTP/1.1\r\nhost: {url.netloc}\r\nte: trailers\r\nconnection: close\r\n"
        writer.write(head.encode() + b"transfer-encoding: chunked\r\ntrailer: x-asked\r\n\r\n")
        writer.write(b"5\r\na cat\r\n0\r\nx-asked: 43\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-out: 200\r\n" in answer
    assert b"x-in: post\r\n" in seen[0]
    assert b"x-asked: 43" in seen[0]
    assert b"x-sum: 42" in answer
    word = b"dog" if "find-replace" in text else b"cat"
    assert word in seen[0]
    assert word in answer


def resident(pid: int) -> int:
    """Bytes of memory that a process has (VmRSS of proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def bulk() -> AsyncIterator[bytes]:
    for _ in range(BULK // len(BLOCK)):
        yield BLOCK


def expected() -> str:
    digest = hashlib.sha256()
    for _ in range(BULK // len(BLOCK)):
        digest.update(BLOCK)
    return digest.hexdigest()


async def serve_bulk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers PUT with the digest of what came, and GET with as much."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        if head.startswith(b"PUT"):
            digest, left = hashlib.sha256(), BULK
            while left and (data := await reader.read(min(left, MEBIBYTE))):
                digest.update(data)
                left -= len(data)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n" + digest.hexdigest().encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BULK)
            async for block in bulk():
                writer.write(block)
                await writer.drain()


@asynccontextmanager
async def visitor(edge: RunningEdge, *, http2: bool) -> AsyncIterator[httpx.AsyncClient]:
    trust = ssl.create_default_context(cafile=str(edge.ca))
    transport = httpx.AsyncHTTPTransport(verify=trust, http2=http2)
    async with httpx.AsyncClient(transport=transport, timeout=60, trust_env=False) as client:
        yield client


def addressed(url: str) -> dict:
    """An endpoint on this machine, whatever the system's resolver thinks."""
    parts = urlsplit(url)
    where = f"https://127.0.0.1:{parts.port}/"
    return {"url": where, "headers": {"host": parts.netloc}, "extensions": {"sni_hostname": parts.hostname}}


@pytest.fixture
def flat(edge: RunningEdge) -> Iterator[None]:
    """Nothing that passes bytes keeps them."""
    before = {name: resident(edge.child(name)) for name in ("envoy", "r0")}
    yield
    for name, size in before.items():
        assert resident(edge.child(name)) - size < 64 * MEBIBYTE, name


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("flat")
async def test_bulk_through_header_rules_and_a_rate_limit(edge: RunningEdge) -> None:
    async with raw_upstream(serve_bulk) as port, visitor(edge, http2=False) as client:
        where = addressed(await forward(edge, port, policy()))
        where["headers"]["content-length"] = str(BULK)
        answer = await client.put(**where, content=bulk())
        assert (answer.text, answer.headers["x-out"]) == (expected(), "200")
        del where["headers"]["content-length"]
        digest = hashlib.sha256()
        async with client.stream("GET", **where) as download:
            assert download.headers["x-out"] == "200"
            async for data in download.aiter_raw():
                digest.update(data)
        assert digest.hexdigest() == expected()


async def refused(edge: RunningEdge, url: str) -> bytes:
    """The status line of the answer to an upload, which comes while it is still sent."""
    parts = urlsplit(url)
    trust = ssl.create_default_context(cafile=str(edge.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port, ssl=trust, server_hostname=parts.hostname)
    writer.write(f"PUT / HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {BULK}\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    with contextlib.suppress(ConnectionError):
        while not answer.done():
            writer.write(BLOCK)
            await writer.drain()
    line = await asyncio.wait_for(answer, 60)
    writer.transport.abort()
    return line


@pytest.mark.usefixtures("flat")
async def test_a_rule_of_bodies_holds_a_bounded_part_of_them(edge: RunningEdge) -> None:
    """What is larger than Envoy's buffer is refused, not kept, and not passed on unread."""
    text = policy(
        {"type": "request-body-find-replace", "config": REPLACED},
        response=({"type": "response-body-find-replace", "config": REPLACED},),
    )
    async with raw_upstream(serve_bulk) as port, visitor(edge, http2=True) as client:
        url = await forward(edge, port, text)
        for _ in range(3):
            assert await refused(edge, url) == b"HTTP/1.1 413 Payload Too Large\r\n"
            answer = await client.get(**addressed(url))
            assert answer.status_code == 500
            assert len(answer.content) < MEBIBYTE
