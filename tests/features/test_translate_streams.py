"""HTTP as it is used: HTTP/2 on both sides, gRPC, WebSocket, server-sent events, trailers, big bodies, pools."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, unix_serve

from kit.translated import TranslatedEdge, endpoint, http_upstream, read_answer, translated_edge
from kit.websocket_bytes import PARTING_SECONDS
from portico.model.endpoint import UnixSocket

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHUNK = b"x" * 65_536
MIB = 16


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Counts the bytes of a chunked upload."""
    await reader.readuntil(b"\r\n\r\n")
    total = 0
    while size := int(await reader.readline(), 16):
        total += len(await reader.readexactly(size + 2)) - 2
    while await reader.readline() != b"\r\n":
        pass
    body = str(total).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends each event only after the visitor has shown (by a byte of the request's body) that he saw the last one."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for number in range(3):
        event = b"data: %d\n\n" % number
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await reader.readline()
        await reader.readline()
    writer.write(b"0\r\nx-checksum: abc\r\n\r\n")


async def trailers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Gives a request's trailer back as a trailer."""
    await reader.readuntil(b"\r\n\r\n")
    body = await reader.readuntil(b"\r\n\r\n")
    sent = body.rsplit(b"\r\n", 3)[1].split(b": ")[1]
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-back: %s\r\n\r\n" % sent)


async def websocket_echo(connection: ServerConnection) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(message)


class Streaming(grpc.GenericRpcHandler):
    """A service that echoes each message of a bidirectional stream."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def echo(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async for request in requests:
                yield request
            context.set_trailing_metadata((("x-end", "yes"),))

        return grpc.stream_stream_rpc_method_handler(echo) if details.method == "/test.Echo/Stream" else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        plain = await running.serve(http_upstream("plain"), "plain")
        alive = [await running.serve(http_upstream(f"pool{n}"), f"pool{n}") for n in range(3)]
        dead = UnixSocket(str(running.directory / "dead.sock"))
        rpc = running.directory / "rpc.sock"
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Streaming(),))
        server.add_insecure_port(f"unix:{rpc}")
        await server.start()
        ws = running.directory / "ws.sock"
        await running.publish(
            endpoint("https://plain.edge.test", plain),
            endpoint("https://sink.edge.test", await running.serve(sink, "sink")),
            endpoint("https://events.edge.test", await running.serve(events, "events")),
            endpoint("https://trailers.edge.test", await running.serve(trailers, "trailers")),
            endpoint("https://ws.edge.test", UnixSocket(str(ws))),
            endpoint("http://ws.edge.test", UnixSocket(str(ws))),
            endpoint("https://rpc.edge.test", UnixSocket(str(rpc)), upstream_http=2),
            endpoint("https://pool.edge.test", *alive),
            endpoint("https://halfdead.edge.test", dead, alive[0]),
            endpoint("https://weighted.edge.test", UnixSocket(alive[0].path, 9), alive[1]),
        )
        async with unix_serve(websocket_echo, str(ws)):
            yield running
        await server.stop(0)


async def test_http2_visitor(edge: TranslatedEdge) -> None:
    transport = httpx.AsyncHTTPTransport(verify=edge.visitor(), http2=True)
    async with httpx.AsyncClient(transport=transport, timeout=60) as visitor:
        for _ in range(3):
            answer = await visitor.get(
                f"https://127.0.0.1:{edge.https}/x",
                headers={"host": "plain.edge.test"},
                extensions={"sni_hostname": "plain.edge.test"},
            )
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            assert "host: plain.edge.test\r\n" in answer.text


async def test_grpc_both_ways(edge: TranslatedEdge) -> None:
    credentials = grpc.ssl_channel_credentials(edge.authority.pem.encode())
    options = [("grpc.ssl_target_name_override", "rpc.edge.test"), ("grpc.default_authority", "rpc.edge.test")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{edge.https}", credentials, options=options) as channel:
        call = channel.stream_stream("/test.Echo/Stream")()
        for number in range(3):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        assert dict(await call.trailing_metadata())["x-end"] == "yes"
        missing = channel.unary_unary("/test.Echo/Missing")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await missing(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_websocket(edge: TranslatedEdge) -> None:
    places = {
        f"wss://ws.edge.test:{edge.https}/": {"ssl": edge.visitor(), "server_hostname": "ws.edge.test"},
        f"ws://ws.edge.test:{edge.http}/": {},
    }
    for url, options in places.items():
        async with connect(url, host="127.0.0.1", close_timeout=PARTING_SECONDS, **options) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"


async def test_events_are_not_held_back(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("events.edge.test")
    writer.write(b"POST / HTTP/1.1\r\nhost: events.edge.test\r\ntransfer-encoding: chunked\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for number in range(3):
        assert b"data: %d" % number in await reader.readuntil(b"\n\n\r\n")
        writer.write(b"1\r\n.\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"0\r\nx-checksum: abc\r\n\r\n"
    writer.close()


async def test_trailers_both_ways(edge: TranslatedEdge) -> None:
    request = (
        b"POST / HTTP/1.1\r\nhost: trailers.edge.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sent: 42\r\n\r\n"
    )
    reader, writer = await edge.open("trailers.edge.test")
    writer.write(request)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"0\r\nx-back: 42\r\n\r\n"
    writer.close()


async def test_upload_of_unknown_length(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("sink.edge.test")
    writer.write(b"POST / HTTP/1.1\r\nhost: sink.edge.test\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(MIB * 16):
        writer.write(b"10000\r\n" + CHUNK + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await read_answer(reader)).text == str(MIB * 1024 * 1024)
    writer.close()


async def test_expect_100_continue(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("plain.edge.test")
    writer.write(b"POST / HTTP/1.1\r\nhost: plain.edge.test\r\ncontent-length: 0\r\nexpect: 100-continue\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 100 ", b"HTTP/1.1 200 "))
    writer.close()


async def test_pool_is_shared_out(edge: TranslatedEdge) -> None:
    answers = [await edge.get("pool.edge.test") for _ in range(30)]
    assert {answer.text.split("\n")[0] for answer in answers} == {"pool0", "pool1", "pool2"}


async def test_dead_address_is_skipped(edge: TranslatedEdge) -> None:
    answers = [await edge.get("halfdead.edge.test") for _ in range(20)]
    assert {(answer.status, answer.text.split("\n")[0]) for answer in answers} == {(200, "pool0")}


async def test_weights(edge: TranslatedEdge) -> None:
    seen = Counter([(await edge.get("weighted.edge.test")).text.split("\n")[0] for _ in range(60)])
    assert seen["pool0"] > seen["pool1"] > 0


async def test_streams_outlive_changes(edge: TranslatedEdge) -> None:
    options = {"ssl": edge.visitor(), "server_hostname": "ws.edge.test", "host": "127.0.0.1"}
    async with connect(f"wss://ws.edge.test:{edge.https}/", close_timeout=PARTING_SECONDS, **options) as socket:
        for number in range(5):
            address = UnixSocket(str(edge.directory / "ws.sock"))
            await edge.publish(
                endpoint(f"https://m{number}.edge.test", address), endpoint(f"tls://n{number}.test", address)
            )
        await asyncio.sleep(3)  # longer than the test Envoy drains for
        await socket.send("still here")
        assert await socket.recv() == "still here"
