"""The WebSocket converter through a real edge: TCP protocols of browsers, by every version of HTTP, behind policies."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
import yaml
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

import portico
from kit.cli import running_agent
from kit.edge import RunningEdge, running_edge
from kit.ports import free_port
from kit.ssh import SshUser
from kit.visit import visit
from kit.websocket_bytes import read_all, websocket
from portico import PorticoError

MEBIBYTE = 1 << 20
TESTS = Path(__file__).parents[1]
DOOR = {
    "on_http_request": [
        {"actions": [{"type": "basic-auth", "config": {"credentials": ["ada:lovelace1815"]}}]},
        {"expressions": ["req.url.path == '/closed'"], "actions": [{"type": "deny", "config": {"status_code": 451}}]},
    ],
    "on_http_response": [{"actions": [{"type": "add-headers", "config": {"headers": {"x-by": "policy"}}}]}],
}


@pytest.fixture(autouse=True)
def _no_listener_is_left() -> Iterator[None]:
    yield
    portico.kill()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a service that sends back what it gets, and finishes when it is finished."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def forwarded(edge: RunningEdge, port: int, **options: object) -> str:
    """The URL of a new endpoint of Portico's SDK."""
    where = {"authtoken": edge.authtoken, "connect_url": edge.connect_url, "connect_cas": str(edge.ca)}
    return (await portico.forward(port, **where, **options)).url()  # type: ignore[misc, arg-type]


async def converted(edge: RunningEdge, port: int, **options: object) -> str:
    """The same, with the converter."""
    return await forwarded(edge, port, websocket_tcp_converter=True, **options)


async def test_bulk_both_ways(edge: RunningEdge, echo: int) -> None:
    url = await converted(edge, echo)

    def exchange() -> None:
        sent = os.urandom(8 * MEBIBYTE)
        digest, got = hashlib.sha256(), 0
        with websocket(url, edge.ca) as connection:
            for start in range(0, len(sent), MEBIBYTE):
                connection.send(sent[start : start + MEBIBYTE])
                while got < start:
                    data = connection.recv(60)
                    digest.update(data)  # type: ignore[arg-type]
                    got += len(data)
            while got < len(sent):
                data = connection.recv(60)
                digest.update(data)  # type: ignore[arg-type]
                got += len(data)
        assert digest.digest() == hashlib.sha256(sent).digest()

    await asyncio.to_thread(exchange)


async def test_a_policy_stands_before_it(edge: RunningEdge, echo: int) -> None:
    url = await converted(edge, echo, traffic_policy=yaml.safe_dump(DOOR))
    ada = {"authorization": "Basic YWRhOmxvdmVsYWNlMTgxNQ=="}

    def exchange() -> None:
        for path, headers, status in (("/", {}, 401), ("/closed", ada, 451)):
            with (
                pytest.raises(InvalidStatus) as refused,
                websocket(url + path, edge.ca, additional_headers=headers),
            ):
                pass
            assert refused.value.response.status_code == status
        with websocket(url, edge.ca, additional_headers=ada, subprotocols=["mqtt"]) as connection:
            assert connection.subprotocol == "mqtt"
            assert connection.response is not None
            assert connection.response.headers["x-by"] == "policy"
            connection.send("text")
            assert connection.recv(60) == b"text"

    await asyncio.to_thread(exchange)


async def test_a_visitor_who_is_no_websocket_gets_the_page(edge: RunningEdge, echo: int) -> None:
    url = await converted(edge, echo)
    answer = await asyncio.to_thread(visit, edge, url, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["portico-error-code"]) == (400, "PORTICO_3206")
    assert "A WebSocket is expected here" in answer.text
    old = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x" * 24, "sec-websocket-version": "8"}
    answer = await asyncio.to_thread(visit, edge, url, headers=old)
    assert (answer.status_code, answer.headers["sec-websocket-version"]) == (426, "13")


async def test_the_upstream_is_told_the_visitors_address(edge: RunningEdge) -> None:
    headers: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers.put_nowait(await reader.readline())
        writer.write(b"seen")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = await converted(edge, server.sockets[0].getsockname()[1], proxy_proto="1")

        def exchange() -> None:
            with websocket(url, edge.ca) as connection:
                assert read_all(connection) == b"seen"
                assert connection.close_code == 1000

        await asyncio.to_thread(exchange)
        assert (await headers.get()).startswith(b"PROXY TCP4 127.0.0.1 ")


async def test_http2_offers_no_websocket(edge: RunningEdge, echo: int) -> None:
    """RFC 8441: where the setting is not offered, browsers open a connection of HTTP/1.1 for it."""
    parts = urlsplit(await converted(edge, echo))
    trust = ssl.create_default_context(cafile=str(edge.ca))
    trust.set_alpn_protocols(["h2"])

    def settings() -> dict[int, int]:
        with (
            socket.create_connection(("127.0.0.1", parts.port or 0), timeout=60) as raw,
            trust.wrap_socket(raw, server_hostname=parts.hostname) as wire,
        ):
            http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            http.initiate_connection()
            wire.sendall(http.data_to_send())
            while True:
                for event in http.receive_data(wire.recv(1 << 16)):
                    if isinstance(event, h2.events.RemoteSettingsChanged):
                        return {code: one.new_value for code, one in event.changed_settings.items()}

    assert not (await asyncio.to_thread(settings)).get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)


PAGE = """<!doctype html><title>page</title><script>
const open = (name, url) => new Promise(done => {
  const socket = new WebSocket(url, name === "bytes" ? ["binary"] : []), seen = [name];
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(new TextEncoder().encode(name));
  socket.onmessage = event => { seen.push(new TextDecoder().decode(event.data)); socket.close(1000); };
  socket.onclose = event => done([...seen, event.code].join(" "));
});
const sockets = [open("own", location.href.replace("https", "wss")), open("bytes", "BYTES"), open("nobody", "NOBODY")];
Promise.all(sockets).then(seen => {
  const way = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  fetch("/seen?" + encodeURIComponent([way, ...seen].join(",")));
});
</script>"""


async def test_a_browser(edge: RunningEdge, echo: int, tmp_path: Path) -> None:
    """Its page comes by HTTP/2; WebSockets of an ordinary service and bytes of a TCP service work beside it."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is missing")
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def send_back(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    def page(_: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers:
            return None
        if request.path.startswith("/seen?"):
            told.set_result(unquote(request.path[6:]))
        fields = Headers([("content-type", "text/html"), ("content-length", str(len(body)))])
        return Response(200, "OK", fields, body)

    nobody = await converted(edge, free_port())
    bytes_url = await converted(edge, echo)
    body = PAGE.replace("BYTES", "wss" + bytes_url[5:]).replace("NOBODY", "wss" + nobody[5:]).encode()
    async with serve_websockets(send_back, "127.0.0.1", 0, process_request=page) as server:
        url = await forwarded(edge, server.sockets[0].getsockname()[1])
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--ignore-certificate-errors",
            "--remote-debugging-port=0",
        )
        where = (f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP *.localhost 127.0.0.1")
        process = await asyncio.create_subprocess_exec(
            browser, *flags, *where, url, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            seen = await asyncio.wait_for(told, 60)
        finally:
            process.terminate()
            await process.wait()
    assert seen == "h2,own own 1000,bytes bytes 1000,nobody 1011"


def test_openssh_through_it(edge: RunningEdge, tmp_path: Path) -> None:
    """A real protocol that speaks first, both ways: the stock client logs in at the edge's own door of SSH."""
    user = SshUser(edge, tmp_path)
    user.register()
    port = edge.facts["ssh"].rpartition(":")[2]
    with running_agent(edge, "http", port, "--websocket-tcp-converter") as agent:
        pipe = f"{sys.executable} -m kit.websocket_bytes {agent.url()} {edge.ca}"
        done = subprocess.run(
            user.command("-o", f"ProxyCommand={pipe}", user.door, "http", "--help"),
            capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(TESTS)},
        )  # fmt: skip
        assert "--websocket-tcp-converter" in done.stdout, (done.stdout, done.stderr)


def test_an_upstream_of_ssh(edge: RunningEdge, tmp_path: Path) -> None:
    user = SshUser(edge, tmp_path)
    user.register()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        where = f"0:localhost:{listening.getsockname()[1]}"
        with (
            user.forward("-R", where, user.door, "http", "--websocket-tcp-converter") as (_, url),
            websocket(url, edge.ca) as connection,
        ):
            connection.send(b"ping")
            upstream, _ = listening.accept()
            with upstream:
                assert upstream.recv(4) == b"ping"
                upstream.sendall(b"pong")
            assert read_all(connection) == b"pong"
            assert connection.close_code == 1000


def test_after_an_agents_end_it_is_closed_and_the_next_agent_serves_it(edge: RunningEdge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = (
            "http",
            str(listening.getsockname()[1]),
            "--websocket-tcp-converter",
            "--domain",
            "again.localhost",
        )
        with running_agent(edge, *arguments) as agent:
            url = agent.url()
            with websocket(url, edge.ca) as connection:
                connection.send(b"x")
                listening.accept()[0].recv(1)
                agent.process.kill()
                assert read_all(connection) == b""
                assert connection.close_code in (1011, 1012)
        with running_agent(edge, *arguments) as agent:
            assert agent.url() == url
            with websocket(url, edge.ca) as connection:
                connection.send(b"y")
                assert listening.accept()[0].recv(1) == b"y"


def test_nothing_is_inspected_and_an_upstream_that_is_not_there_is_named(edge: RunningEdge) -> None:
    port = str(free_port())
    with running_agent(edge, "http", port, "--websocket-tcp-converter") as agent:
        url, web = agent.url(), agent.record("address")["address"]
        with websocket(url, edge.ca) as connection:
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            assert read_all(connection) == b""
            assert connection.close_code == 1011
            assert (connection.close_reason or "").startswith("PORTICO_8012: ")
            assert port in (connection.close_reason or "")
        assert httpx.get(f"{web}/api/requests/http", trust_env=False, timeout=60).json()["requests"] == []


def test_services_that_the_edge_reaches_itself_have_none(tmp_path: Path) -> None:
    settings = tmp_path / "edge.yml"
    endpoint = {"url": "https://direct.localhost", "upstreams": ["http://127.0.0.1:9"], "pooling": True}
    settings.write_text(yaml.safe_dump({"endpoints": [endpoint]}))
    with running_edge(tmp_path, "--config", str(settings)) as edge:
        where = {"authtoken": edge.authtoken, "connect_url": edge.connect_url, "connect_cas": str(edge.ca)}
        with pytest.raises(PorticoError, match="with and without the WebSocket converter"):
            portico.forward(9, domain="direct.localhost", pooling_enabled=True, websocket_tcp_converter=True, **where)
