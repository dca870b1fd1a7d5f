"""Endpoints whose bytes Envoy does not read: tls and tcp; the agents' way in; certificates of one's own."""

import asyncio
import contextlib
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kit.ports import free_port
from kit.translated import Authority, Serve, TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import Address, EdgeTls

pytestmark = pytest.mark.asyncio(loop_scope="module")
members = Authority("members CA")
owner = Authority("owner CA")
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


async def proxy_header(reader: asyncio.StreamReader) -> str:
    """The visitor's address in a PROXY v2 header."""
    head = await reader.readexactly(16)
    assert head[:12] == SIGNATURE
    assert head[12:14] == b"\x21\x11"  # PROXY, TCP over IPv4
    rest = await reader.readexactly(struct.unpack("!H", head[14:])[0])
    return f"{ipaddress.ip_address(rest[:4])}:{struct.unpack('!H', rest[8:10])[0]}"


def echo(name: str) -> Serve:
    """Tells its name and the visitor's address, then echoes; after half-close it says so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} {await proxy_header(reader)}\n".encode())
        while data := await reader.read(65_536):
            writer.write(data)
        writer.write(b"end\n")
        writer.close()

    return serve


async def ended_here(name: str, edge: TranslatedEdge, host: str) -> Address:
    """A service that ends TLS itself, behind the PROXY header that a relay would take off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = edge.authority.issue(host)
    file = edge.directory / f"{name}.pem"
    file.write_text(pair.certificate + pair.key)
    context.load_cert_chain(file)
    visitors: list[str] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} {visitors.pop()}\n".encode())
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    path = str(edge.directory / f"{name}.inside.sock")
    edge.sockets.append(await asyncio.start_unix_server(service, path, ssl=context))

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(await proxy_header(reader))
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    return await edge.serve(relay, name)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        await running.serve(echo("agents"), "agents")
        edge_ended = await running.serve(echo("ended"), "ended")
        passed = await ended_here("passed", running, "pass.edge.test")
        wild = await ended_here("wild", running, "*.pass.test")
        web = await running.serve(http_upstream("web"), "web")
        await running.publish(
            endpoint("tls://pass.edge.test", passed),
            endpoint("tls://*.pass.test", wild),
            endpoint("tls://ended.edge.test", edge_ended, tls=EdgeTls()),
            endpoint("tls://*.ended.test", edge_ended, tls=EdgeTls()),
            endpoint("tls://members.edge.test", edge_ended, tls=EdgeTls(client_authorities=members.pem)),
            endpoint("tls://mine.owned.test", edge_ended, tls=EdgeTls(key_pair=owner.issue("mine.owned.test"))),
            endpoint("tls://off.edge.test"),
            endpoint("https://web.pass.test", web),
            endpoint("https://mine.edge.test", web, tls=EdgeTls(key_pair=owner.issue("mine.edge.test"))),
            endpoint("https://*.minewild.test", web, tls=EdgeTls(key_pair=owner.issue("*.minewild.test"))),
        )
        yield running


async def talk(edge: TranslatedEdge, name: str | None, tls: ssl.SSLContext | None = None) -> tuple[str, str]:
    """Who answered and whom he took for the visitor; the echo works both ways."""
    reader, writer = await edge.open(name, tls=tls)
    who, visitor = (await reader.readline()).decode().split()
    assert visitor.endswith(f":{writer.get_extra_info('sockname')[1]}")
    writer.write(b"ping" * 100_000)
    assert await reader.readexactly(400_000) == b"ping" * 100_000
    writer.close()
    return who, visitor


@pytest.mark.parametrize("name", ["connect.edge.test", "edge.test", "localhost", None])
async def test_agents_enter_by_these_names(edge: TranslatedEdge, name: str | None) -> None:
    assert (await talk(edge, name))[0] == "agents"


async def test_tls_ended_at_the_upstream(edge: TranslatedEdge) -> None:
    assert (await talk(edge, "pass.edge.test"))[0] == "passed"
    assert (await talk(edge, "a.pass.test"))[0] == "wild"
    assert "pass.edge.test" not in edge.wanted


async def test_tls_ended_at_the_edge(edge: TranslatedEdge) -> None:
    for name in ("ended.edge.test", "a.ended.test", "a.b.ended.test"):
        assert (await talk(edge, name))[0] == "ended"


async def test_exact_https_beside_a_tls_wildcard(edge: TranslatedEdge) -> None:
    assert (await edge.get("web.pass.test")).status == 200


async def test_client_certificate_before_any_byte(edge: TranslatedEdge) -> None:
    assert (await talk(edge, "members.edge.test", edge.visitor(members.issue("member"))))[0] == "ended"
    reader, writer = await edge.open("members.edge.test")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        assert await reader.read() != b""
    writer.close()


async def test_certificates_of_ones_own(edge: TranslatedEdge) -> None:
    trusting = ssl.create_default_context(cadata=owner.pem)
    assert (await talk(edge, "mine.owned.test", trusting))[0] == "ended"
    for name in ("mine.edge.test", "a.minewild.test"):
        assert (await edge.get(name, tls=trusting)).status == 200


async def test_tls_without_addresses_ends_at_once(edge: TranslatedEdge) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await edge.open("off.edge.test")


async def test_name_without_certificate_is_refused(edge: TranslatedEdge) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await edge.open("elsewhere.example")


async def test_session_resumption_on_the_edges_own_certificate(edge: TranslatedEdge) -> None:
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", "x.edge.test",
        "-tls1_2", "-reconnect",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert b"Reused, TLSv1.2" in output


async def test_tcp_endpoint(edge: TranslatedEdge) -> None:
    address = await edge.serve(echo("tcp"), "tcp")
    port = free_port()
    tcp = endpoint(f"tcp://edge.test:{port}", address)
    await edge.publish(tcp)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own = writer.get_extra_info("sockname")
    assert (await reader.readline()).decode() == f"tcp {own[0]}:{own[1]}\n"
    writer.write(b"x")
    writer.write_eof()
    assert await reader.read() == b"xend\n"
    writer.close()
    await edge.remove(tcp)


async def test_changes_do_not_disturb_connections(edge: TranslatedEdge) -> None:
    reader, writer = await edge.open("pass.edge.test")
    agent_reader, agent_writer = await edge.open("connect.edge.test")
    await reader.readline()
    await agent_reader.readline()
    address = await edge.serve(echo("late"), "late")
    late = endpoint("tls://late.edge.test", address, tls=EdgeTls())
    strict = endpoint("https://late.owned.test", address, tls=EdgeTls(client_authorities=members.pem))
    await edge.publish(late, strict)
    assert (await talk(edge, "late.edge.test"))[0] == "late"
    await edge.remove(late)
    await edge.remove(strict)
    await asyncio.sleep(3)  # longer than the test Envoy drains for
    for channel, out in ((reader, writer), (agent_reader, agent_writer)):
        out.write(b"still here\n")
        assert await channel.readline() == b"still here\n"
        out.close()


async def test_domain_without_a_dot() -> None:
    async with translated_edge("localhost") as local:
        await local.serve(echo("agents"), "agents")
        address = await local.serve(http_upstream("web"), "web")
        await local.publish(endpoint("https://calm-bay.localhost", address))
        assert (await local.get("calm-bay.localhost")).status == 200
        assert local.wanted == ["calm-bay.localhost"]
        assert (await talk(local, "connect.localhost"))[0] == "agents"
        assert (await talk(local, "localhost"))[0] == "agents"
