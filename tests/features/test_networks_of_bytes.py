"""Who may connect to endpoints of tls and tcp: decided before an upstream hears of it, or says a word."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kit.ports import free_port
from kit.translated import TranslatedEdge, endpoint, translated_edge
from portico.model.endpoint import NOBODY, EdgeTls, Networks, UnixSocket

pytestmark = pytest.mark.asyncio(loop_scope="module")
INSIDE, OUTSIDE = Networks(("127.0.0.0/8", "::1/128")), Networks(denied=("127.0.0.1/32",))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def greeter(edge: TranslatedEdge) -> UnixSocket:
    """An upstream that speaks first."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HELLO\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    return await edge.serve(greet, "greeter")


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read(6)
    writer.close()
    return b""


@pytest.mark.parametrize(
    ("networks", "said"),
    [(None, b"HELLO\n"), (INSIDE, b"HELLO\n"), (OUTSIDE, b""), (Networks(NOBODY), b"")],
    ids=["everybody", "inside", "outside", "nobody"],
)
async def test_a_tcp_endpoint(
    edge: TranslatedEdge, greeter: UnixSocket, networks: Networks | None, said: bytes
) -> None:
    port = free_port()
    await edge.publish(endpoint(f"tcp://edge.test:{port}", greeter, networks=networks))
    assert await greeting(*await asyncio.open_connection("127.0.0.1", port)) == said


@pytest.mark.parametrize("host", ["one.edge.test", "*.wild.test"])
async def test_a_tls_endpoint(edge: TranslatedEdge, greeter: UnixSocket, host: str) -> None:
    name = host.replace("*", "a")
    for networks, said in ((INSIDE, b"HELLO\n"), (OUTSIDE, b""), (None, b"HELLO\n")):
        await edge.publish(endpoint(f"tls://{host}", greeter, tls=EdgeTls(), networks=networks))
        found = b""
        with contextlib.suppress(ConnectionError):  # no chain: not even a handshake
            found = await greeting(*await edge.open(name))
        assert found == said
