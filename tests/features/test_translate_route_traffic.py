"""Traffic on routes, in the real Envoy: copies, tries, time limits, affinity, streams, and changes under load."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, unix_serve

from kit.ports import free_port
from kit.translated import Serve, TranslatedEdge, endpoint, http_upstream, translated_edge
from kit.websocket_bytes import PARTING_SECONDS
from portico.model import errors
from portico.model.endpoint import EdgeTls, Endpoint, Pool, UnixSocket
from portico.model.route import (
    Affinity,
    Backend,
    Match,
    Mirror,
    PathKind,
    PathMatch,
    Retries,
    Route,
    grpc_path,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


async def pool(edge: TranslatedEdge, name: str, *handlers: Serve) -> Pool:
    return Pool(name, tuple([await edge.serve(handler, f"t{next(_numbers)}") for handler in handlers]))


def visitor(edge: TranslatedEdge, host: str) -> httpx.AsyncClient:
    async def address(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = host

    return httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{edge.https}",
        headers={"host": host},
        verify=edge.visitor(),
        event_hooks={"request": [address]},
        timeout=30,
        trust_env=False,
    )


class Counting:
    """Counts the requests that come in, and answers as it is told."""

    def __init__(self, *answers: bytes) -> None:
        self.seen = 0
        self._answers = answers or (b"",)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = self._answers[min(self.seen, len(self._answers) - 1)]
                self.seen += 1
                if not answer:  # says nothing until the other side ends
                    await reader.read(-1)
                    break
                writer.write(answer)
        writer.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"


async def eventually(seen: object, wanted: int) -> None:
    async with asyncio.timeout(60):
        while getattr(seen, "seen") != wanted:  # noqa: B009
            await asyncio.sleep(0.01)


async def test_a_copy_delays_nothing_and_its_answer_is_dropped(edge: TranslatedEdge) -> None:
    silent, failing, never = Counting(), Counting(BUSY), Counting(OK)
    pools = (
        await pool(edge, "real", http_upstream("real")),
        await pool(edge, "silent", silent),
        await pool(edge, "failing", failing),
        await pool(edge, "never", never),
    )
    mirrors = (Mirror("silent"), Mirror("failing"), Mirror("never", 0), Mirror("missing"))
    routes = (Route("all", (), (Backend("real"),), mirrors=mirrors),)
    await edge.publish(endpoint("https://mirror.edge.test", routes=routes, pools=pools))
    async with visitor(edge, "mirror.edge.test") as client:
        answer = await client.get("/copied")
    assert (answer.status_code, answer.text.split("\r\n")[0]) == (200, "real\nGET /copied HTTP/1.1")
    await eventually(silent, 1)
    await eventually(failing, 1)
    assert never.seen == 0


async def test_what_the_owner_lets_be_sent_again(edge: TranslatedEdge) -> None:
    twice = Counting(BUSY, BUSY, OK)
    route = Route("all", (), (Backend("twice"),), retries=Retries(2, (503,), backoff=0.001))
    await edge.publish(endpoint("https://again.edge.test", routes=(route,), pools=(await pool(edge, "twice", twice),)))
    async with visitor(edge, "again.edge.test") as client:
        answer = await client.post("/", content=b"body")
    assert (answer.status_code, twice.seen) == (200, 3)


async def test_what_nobody_asked_for_is_sent_once(edge: TranslatedEdge) -> None:
    busy = Counting(BUSY)
    route = Route("all", (), (Backend("busy"),))
    await edge.publish(endpoint("https://once.edge.test", routes=(route,), pools=(await pool(edge, "busy", busy),)))
    async with visitor(edge, "once.edge.test") as client:
        answer = await client.post("/")
    assert (answer.status_code, answer.text, busy.seen) == (503, "busy", 1)


async def test_time_limits(edge: TranslatedEdge) -> None:
    silent, slow_once = Counting(), Counting(b"", OK)
    pools = (await pool(edge, "silent", silent), await pool(edge, "slow", slow_once))
    tries = Retries(3, broken=True, backoff=0.001)
    routes = (
        Route("whole", (at("/whole"),), (Backend("silent"),), timeout=0.1),
        Route("try", (at("/try"),), (Backend("silent"),), try_timeout=0.1),
        Route("again", (at("/again"),), (Backend("slow"),), try_timeout=3.0, retries=tries),
    )
    await edge.publish(endpoint("https://time.edge.test", routes=routes, pools=pools))
    async with visitor(edge, "time.edge.test") as client:
        for path in ("/whole", "/try"):
            answer = await client.post(path)
            assert answer.status_code == 504, path
            assert answer.headers["portico-error-code"] == str(errors.UPSTREAM_TIMEOUT)
        await eventually(silent, 2)
        assert (await client.post("/again")).text == "ok"
    assert slow_once.seen == 2


def at(path: str) -> Match:
    return Match(PathMatch(PathKind.PREFIX, path))


async def test_affinity(edge: TranslatedEdge) -> None:
    pools = (
        await pool(edge, "a", *(http_upstream(f"a{n}") for n in range(3))),
        await pool(edge, "b", *(http_upstream(f"b{n}") for n in range(3))),
    )
    both = (Backend("a"), Backend("b"))
    routes = (
        Route("cookie", (at("/cookie"),), both, affinity=Affinity(cookie="stay", lifetime=60)),
        Route("browser", (at("/browser"),), both[:1], affinity=Affinity(cookie="until")),
        Route("header", (at("/header"),), both, affinity=Affinity(header="x-user")),
        Route("none", (at("/none"),), both),
    )
    await edge.publish(endpoint("https://stay.edge.test", routes=routes, pools=pools))
    reached = set()
    for _ in range(12):
        async with visitor(edge, "stay.edge.test") as client:
            first = await client.get("/cookie")
            given = first.headers.get_list("set-cookie")
            assert {cookie.split("=")[0] for cookie in given} == {"stay", "stay-to"}
            assert all({"max-age=60", "path=/", "httponly"} <= set(cookie.lower().split("; ")) for cookie in given)
            for name in ("stay", "stay-to"):
                client.cookies.set(name, first.cookies[name])
            later = [await client.get("/cookie") for _ in range(5)]
            assert {who(answer) for answer in later} == {who(first)}
            assert "set-cookie" not in later[0].headers
            reached.add(who(first))
    assert len(reached) > 2
    async with visitor(edge, "stay.edge.test") as client:
        browser = await client.get("/browser")
        assert "max-age" not in browser.headers["set-cookie"].lower()
        for user in ("ann", "bob", "eve", "tom"):
            users = [await client.get("/header", headers={"x-user": user}) for _ in range(5)]
            assert len({who(answer) for answer in users}) == 1
        assert len({who(await client.get("/none")) for _ in range(30)}) > 2


def who(answer: httpx.Response) -> str:
    return answer.text.split("\n")[0]


class Named(grpc.GenericRpcHandler):
    """Answers every call with its own name and the method's."""

    def __init__(self, name: str) -> None:
        self._name = name

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return f"{self._name} {details.method}".encode()

        return grpc.unary_unary_rpc_method_handler(answer)


async def test_grpc(edge: TranslatedEdge) -> None:
    servers, pools = [], []
    for name in ("say", "rest"):
        path = edge.directory / f"rpc-{name}.sock"
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Named(name),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        servers.append(server)
        pools.append(Pool(name, (UnixSocket(str(path)),), upstream_http=2))
    routes = (
        Route("say", (Match(grpc_path("test.Echo", "Say")),), (Backend("say"),)),
        Route("rest", (Match(grpc_path("test.Echo")),), (Backend("rest"),)),
    )
    await edge.publish(endpoint("https://calls.edge.test", routes=routes, pools=tuple(pools)))
    credentials = grpc.ssl_channel_credentials(edge.authority.pem.encode())
    options = [("grpc.ssl_target_name_override", "calls.edge.test"), ("grpc.default_authority", "calls.edge.test")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{edge.https}", credentials, options=options) as channel:
        assert await channel.unary_unary("/test.Echo/Say")(b"") == b"say /test.Echo/Say"
        assert await channel.unary_unary("/test.Echo/Else")(b"") == b"rest /test.Echo/Else"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Other/Say")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for server in servers:
        await server.stop(0)


async def test_websocket(edge: TranslatedEdge) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    path = str(edge.directory / "ws-route.sock")
    route = Route("ws", (at("/ws"),), (Backend("ws"),), timeout=2)
    endpoint_ = endpoint("http://socket.edge.test", routes=(route,), pools=(Pool("ws", (UnixSocket(path),)),))
    async with unix_serve(echo, path):
        await edge.publish(endpoint_)
        uri = f"ws://socket.edge.test:{edge.http}/ws/a"
        options = {"host": "127.0.0.1", "port": edge.http, "proxy": None, "close_timeout": PARTING_SECONDS}
        async with connect(uri, **options) as socket:
            await asyncio.sleep(2.5)  # longer than the limit of an answer, which a socket has no end of
            await socket.send("hello")
            assert await socket.recv() == "hello"


async def test_changes_under_load(edge: TranslatedEdge) -> None:
    """Pools come, go, change their addresses and their shares; no request fails."""
    names = ("red", "green", "blue")
    pools = {name: await pool(edge, name, http_upstream(name), http_upstream(name)) for name in names}

    def shape(number: int) -> list[Pool]:
        kept = [pools[name] for name in names if name != names[number % 3]]
        return [Pool(one.name, one.addresses[: 1 + number % 2]) for one in kept]

    def changed(number: int) -> tuple[tuple[Route, ...], tuple[Pool, ...]]:
        led = shape(number)
        backends = tuple(Backend(one.name, 1 + number % 5) for one in led)
        return (Route("a", (at("/a"),), backends[:1]), Route("rest", (), backends)), tuple(led)

    def version(number: int) -> Endpoint:
        routes, led = changed(number)
        return endpoint("https://load.edge.test", routes=routes, pools=led)

    await edge.replace(None, version(0))
    outcomes: Counter[int] = Counter()
    stop = asyncio.Event()

    async def load() -> None:
        async with visitor(edge, "load.edge.test") as client:
            while not stop.is_set():
                outcomes[(await client.get("/a/b" if outcomes.total() % 2 else "/c")).status_code] += 1

    tasks = [asyncio.create_task(load()) for _ in range(4)]
    for number in range(1, 40):
        await edge.replace(version(number - 1), version(number))
    stop.set()
    await asyncio.gather(*tasks)
    assert set(outcomes) == {200}
    assert outcomes[200] > 40


async def test_shares_of_connections(edge: TranslatedEdge) -> None:
    def teller(name: bytes) -> Serve:
        async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readexactly(16)  # of the PROXY header: what nobody reads makes the end a reset
            await reader.readexactly(int.from_bytes(head[14:]))
            writer.write(name)
            writer.close()

        return tell

    pools = (
        await pool(edge, "m", teller(b"m")),
        await pool(edge, "f", teller(b"f")),
        await pool(edge, "z", teller(b"z")),
    )
    route = Route("all", (), (Backend("m", 3), Backend("f", 1), Backend("z", 0)))
    port = free_port()
    tls, tcp = "tls://shares.test", f"tcp://edge.test:{port}"
    await edge.publish(
        endpoint(tls, tls=EdgeTls(), routes=(route,), pools=pools), endpoint(tcp, routes=(route,), pools=pools)
    )
    counts: Counter[bytes] = Counter()
    for _ in range(60):
        reader, writer = await edge.open("shares.test")
        counts[(await reader.read())[-1:]] += 1
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        counts[(await reader.read())[-1:]] += 1
        writer.close()
    assert set(counts) == {b"m", b"f"}
    assert counts[b"m"] > counts[b"f"]
