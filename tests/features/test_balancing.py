"""Pools in a real Envoy: who gets the next request, who is left out, and what is sent again."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
import pytest_asyncio

from kit.envoy import eventually
from kit.ports import free_port
from kit.translated import (
    MARK,
    Answer,
    Serve,
    TranslatedEdge,
    endpoint,
    http_upstream,
    read_answer,
    translated_edge,
)
from portico.model.balancing import (
    Balancing,
    CircuitLimits,
    GrpcCheck,
    HashBy,
    HashKind,
    HealthCheck,
    HttpCheck,
    Method,
    OutlierEjection,
    SlowStart,
)
from portico.model.endpoint import UnixSocket
from portico.model.pages import PROBE_ANSWER

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE = "pool.edge.test"
URL = f"https://{SITE}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three(edge: TranslatedEdge) -> list[UnixSocket]:
    return [await edge.serve(http_upstream(name), name) for name in "abc"]


def checked(http: HttpCheck | None = None, grpc: GrpcCheck | None = None) -> Balancing:
    return Balancing(health=HealthCheck(http, grpc, interval=0.2, timeout=20.0, idle_interval=0.2))


async def who(edge: TranslatedEdge, number: int = 1, path: str = "/", **headers: str) -> Counter[str]:
    """Who answered; an error of the edge by its status."""
    answers = [await edge.get(SITE, path, headers=headers) for _ in range(number)]
    return Counter(each.text.split("\n")[0] if each.status == 200 else str(each.status) for each in answers)


async def post(edge: TranslatedEdge) -> Answer:
    reader, writer = await edge.open(SITE)
    writer.write(f"POST / HTTP/1.1\r\nhost: {SITE}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody".encode())
    answer = await read_answer(reader)
    writer.close()
    return answer


async def until_only(edge: TranslatedEdge, wanted: set[str]) -> None:
    async def only() -> bool:
        return set(await who(edge, 8)) == wanted

    await eventually(only)


async def test_one_after_the_other_by_weight(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    heavy = UnixSocket(three[0].path, weight=4)
    await edge.publish(endpoint(URL, heavy, three[1], balancing=Balancing(Method.ROUND_ROBIN)))
    # Each of Envoy's threads counts for itself, and begins somewhere.
    found = await who(edge, 100)
    assert 70 <= found["a"] <= 90
    assert found["a"] + found["b"] == 100


@pytest.mark.parametrize("method", [Method.RING_HASH, Method.MAGLEV])
async def test_hashed(edge: TranslatedEdge, three: list[UnixSocket], method: Method) -> None:
    by = (HashBy(HashKind.HEADER, "x-user"), HashBy(HashKind.QUERY, "user"), HashBy(HashKind.ADDRESS))
    await edge.publish(endpoint(URL, *three, balancing=Balancing(method, hash_by=by)))
    by_header = [await who(edge, 4, **{"x-user": f"u{number}"}) for number in range(12)]
    by_query = [await who(edge, 4, f"/?user=u{number}") for number in range(12)]
    assert all(len(found) == 1 for found in [*by_header, *by_query, await who(edge, 8)])
    assert len({name for found in by_header for name in found}) > 1
    assert [set(found) for found in by_header] == [set(found) for found in by_query]


async def test_a_cookie_leads_back(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    by = (HashBy(HashKind.COOKIE, "seat", cookie_seconds=0),)
    await edge.publish(endpoint(URL, *three, balancing=Balancing(Method.RING_HASH, hash_by=by)))
    first = await edge.get(SITE)
    given = first.headers["set-cookie"]
    assert given.startswith("seat=")
    assert "HttpOnly" in given
    assert set(await who(edge, 8, cookie=given.partition(";")[0])) == {first.text.split("\n")[0]}


async def test_a_spare_serves_when_the_others_cannot(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    spare = UnixSocket(three[2].path, priority=7)
    await edge.publish(endpoint(URL, three[0], three[1], spare))
    assert set(await who(edge, 20)) == {"a", "b"}
    gone = [UnixSocket(f"{edge.directory}/gone-{number}.sock") for number in range(2)]
    await edge.publish(endpoint(URL, *gone, spare))
    assert set(await who(edge, 20)) == {"c"}


async def test_zones_have_shares(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    near, far = UnixSocket(three[0].path, zone="near"), [UnixSocket(each.path, zone="far") for each in three[1:]]
    await edge.publish(endpoint(URL, near, *far, balancing=Balancing(zone_weights=(("near", 98), ("far", 2)))))
    assert (await who(edge, 60))["a"] > 45


def answering(health: dict[str, int], name: str) -> Serve:
    """An upstream whose /health has the status that is in `health` now."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status = health[name] if head.startswith(b"GET /health ") else 200
                body = f"{name}\n".encode()
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    return serve


async def test_checks_by_http(edge: TranslatedEdge) -> None:
    health = {"well": 200, "sick": 299}
    sockets = [await edge.serve(answering(health, name), name) for name in health]
    rules = checked(HttpCheck("/health", statuses=((200, 200), (299, 299))))
    await edge.publish(endpoint(URL, *sockets, balancing=rules))
    # At once, before the first check is over.
    assert set(await who(edge, 4)) <= {"well", "sick"}
    await until_only(edge, {"well", "sick"})
    health["sick"] = 500
    await until_only(edge, {"well"})
    # A neighbour comes: what is known of the sick one stays known.
    third = await edge.serve(answering(health | {"new": 200}, "new"), "new")
    await edge.publish(endpoint(URL, *sockets, third, balancing=rules))
    assert "sick" not in await who(edge, 12)
    await until_only(edge, {"well", "new"})
    health["sick"] = 200
    await until_only(edge, {"well", "sick", "new"})


async def test_checks_by_connection_ask_the_relay(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    heard: list[bytes] = []

    def relay(name: str, reached: bool) -> Serve:
        serve_http = http_upstream(name)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(1)
            if first != b"\r":
                rest = asyncio.StreamReader()
                rest.feed_data(first)

                async def pump() -> None:
                    while data := await reader.read(65_536):
                        rest.feed_data(data)
                    rest.feed_eof()

                await asyncio.gather(pump(), serve_http(rest, writer))
                return
            heard.append(first + await reader.readexactly(15))
            if reached:
                writer.write(PROBE_ANSWER)
            writer.close()

        return serve

    sockets = [await edge.serve(relay(name, name == "up"), name) for name in ("up", "down")]
    await edge.publish(endpoint(URL, *sockets, balancing=checked()))
    await until_only(edge, {"up"})
    assert heard[0] == b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"  # version 2, command LOCAL


async def test_checks_by_grpc(edge: TranslatedEdge) -> None:
    serving = {"one": b"\x08\x01", "two": b"\x08\x01"}
    servers = []
    for name in tuple(serving):

        async def check(request: bytes, _: object, name: str = name) -> bytes:
            assert request == b"\x0a\x05music"
            return serving[name]

        async def tell(request: bytes, _: object, name: str = name) -> bytes:
            return name.encode()

        server = grpc.aio.server()
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
        teller = {"Who": grpc.unary_unary_rpc_method_handler(tell)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Teller", teller),))
        server.add_insecure_port(f"unix:{edge.directory}/grpc-{name}.sock")
        await server.start()
        servers.append(server)
    addresses = [UnixSocket(f"{edge.directory}/grpc-{name}.sock") for name in serving]
    rules = checked(grpc=GrpcCheck("music"))
    await edge.publish(endpoint(URL, *addresses, upstream_http=2, balancing=rules))
    target = f"127.0.0.1:{edge.https}"
    credentials = grpc.ssl_channel_credentials(edge.authority.pem.encode())
    options = [("grpc.ssl_target_name_override", SITE), ("grpc.default_authority", SITE)]
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        call = channel.unary_unary("/test.Teller/Who")

        async def found() -> set[bytes]:
            return {await call(b"", wait_for_ready=True) for _ in range(12)}

        async def both() -> bool:
            return await found() == {b"one", b"two"}

        async def one() -> bool:
            return await found() == {b"one"}

        await eventually(both)
        serving["two"] = b"\x08\x02"
        await eventually(one)
    for server in servers:
        await server.stop(0)


async def test_beyond_the_limits(edge: TranslatedEdge) -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await release.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    address = await edge.serve(slow, "slow")
    # HTTP/1.1 carries one request a connection; each of Envoy's threads may have one connection in any case.
    limits = CircuitLimits(connections=1, pending=1)
    await edge.publish(endpoint(URL, address, balancing=Balancing(limits=limits)))
    visits = [asyncio.create_task(edge.get(SITE)) for _ in range(10)]

    async def refused() -> bool:
        return sum(visit.done() for visit in visits) > 3

    await eventually(refused)
    release.set()
    answers = await asyncio.wait_for(asyncio.gather(*visits), 30)
    codes = Counter((answer.status, answer.headers.get("portico-error-code")) for answer in answers)
    assert set(codes) == {(200, None), (503, "PORTICO_20023")}


async def test_five_hundreds_count_where_they_are_to(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    broken = await edge.serve(http_upstream("broken", status="500 Broken"), "broken")
    pool = three[0], broken
    await edge.publish(endpoint(URL, *pool))
    assert set(await who(edge, 40)) == {"a", "500"}
    assert (await who(edge, 40))["500"] > 5
    await edge.publish(endpoint(URL, *pool, balancing=Balancing(outlier=OutlierEjection(consecutive_5xx=2))))
    await until_only(edge, {"a"})


class Counted:
    """Takes each request and breaks off, or gives a relay's answer."""

    def __init__(self, answer: bytes = b"") -> None:
        self.methods: list[str] = []
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.methods.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0].decode())
            writer.write(self._answer)
            await writer.drain()
        writer.close()


RELAYS_PAGE = f"HTTP/1.1 502 Bad Gateway\r\n{MARK}: 8012\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("answer", [b"", RELAYS_PAGE], ids=["broken-off", "page-of-a-relay"])
async def test_what_is_safe_is_sent_again_elsewhere(
    edge: TranslatedEdge, three: list[UnixSocket], answer: bytes
) -> None:
    dying = Counted(answer)
    address = await edge.serve(dying, f"dying-{len(answer)}")
    # Never left out, so that it is tried again and again.
    rules = Balancing(Method.ROUND_ROBIN, outlier=OutlierEjection(consecutive_local=0))
    await edge.publish(endpoint(URL, three[0], address, balancing=rules))
    assert await who(edge, 20) == {"a": 20}
    tried = dying.methods.count("GET")
    assert tried > 2
    answers = [await post(edge) for _ in range(12)]
    failed = sum(each.status == 502 for each in answers)
    assert sum(each.status == 200 for each in answers) + failed == 12
    assert dying.methods.count("POST") == failed > 0  # each seen once, and told


@pytest.mark.parametrize("answer", [b"", RELAYS_PAGE], ids=["broken-off", "page-of-a-relay"])
async def test_one_that_fails_rests(edge: TranslatedEdge, three: list[UnixSocket], answer: bytes) -> None:
    dying = Counted(answer)
    address = await edge.serve(dying, f"resting-{len(answer)}")
    await edge.publish(endpoint(URL, three[0], address))

    async def tried() -> bool:
        return (await who(edge)) == {"a": 1} and len(dying.methods) > 0

    await eventually(tried)
    before = len(dying.methods)
    assert await who(edge, 30) == {"a": 30}
    # Envoy's threads hear of it one after the other.
    assert len(dying.methods) <= before + 2


async def test_what_nobody_has_seen_goes_elsewhere(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    page = RELAYS_PAGE.replace(b"8012", f"20023\r\n{MARK}-unseen: 1".encode())
    full = Counted(page)
    address = await edge.serve(full, "full")
    await edge.publish(endpoint(URL, three[0], address, balancing=Balancing(Method.ROUND_ROBIN)))
    assert [(await post(edge)).status for _ in range(12)] == [200] * 12
    assert "POST" in full.methods
    await edge.publish(endpoint(URL, address))
    assert not [name for name in (await post(edge)).headers if name.startswith(MARK)]


async def test_slow_start_is_taken(edge: TranslatedEdge, three: list[UnixSocket]) -> None:
    await edge.publish(endpoint(URL, three[0], balancing=Balancing(slow_start=SlowStart(600, 1))))
    await who(edge)
    await edge.publish(endpoint(URL, *three[:2], balancing=Balancing(slow_start=SlowStart(600, 1))))
    assert set(await who(edge, 4)) <= {"a", "b"}


async def test_bytes_by_the_visitors_address_and_checked(edge: TranslatedEdge) -> None:
    port = free_port()
    checks = Counter[str]()

    def speaking(name: str) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readexactly(16)
            if head[12] == 0x20:  # LOCAL
                checks[name] += 1
                writer.write(PROBE_ANSWER if name != "dead" else b"")
            else:
                writer.write(name.encode())
            writer.close()

        return serve

    names = "one", "two", "dead"
    sockets = [await edge.serve(speaking(name), f"bytes-{name}") for name in names]
    health = HealthCheck(interval=0.2, timeout=20.0, idle_interval=0.2)
    by_address = endpoint(f"tcp://edge.test:{port}", *sockets, balancing=Balancing(Method.MAGLEV, health=health))

    async def heard() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await reader.read()
        writer.close()
        return said.decode()

    await edge.publish(by_address)
    # Until the first checks all count, afterwards two: that moves visitors. A second check comes after the first one's
    # result, and once a visitor was served, Envoy's thread has heard of it.
    await eventually(lambda: all(checks[name] > 1 for name in names))
    await heard()
    found = {await heard() for _ in range(8)}
    assert len(found) == 1
    assert found < {"one", "two"}
    await edge.publish(replace(by_address, balancing=Balancing(Method.ROUND_ROBIN, health=health)))

    async def without_the_dead() -> bool:
        return {await heard() for _ in range(8)} == {"one", "two"}

    await eventually(without_the_dead)
