import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kit.agent_server import TOKEN, AgentServer, agent_server, until
from portico.agent.agent import Agent, AgentEndpoint
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.inspector import BODY_LIMIT, Inspector
from portico.agent.settings import SessionSettings
from portico.agent.upstream import parse_upstream
from portico.agent.web import HostCheck, WebInterface
from portico.model.errors import ADDRESS_IN_USE, PorticoError

HTTPS = BindRequest(kind=BindKind.HTTPS)


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
async def upstream() -> AsyncIterator[tuple[int, list[bytes]]]:
    """An upstream that answers 201 to each request, and the requests it got."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if b"Content-Length: " in heads[-1]:
            heads[-1] += await reader.readexactly(int(heads[-1].split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1], heads
    listening.close()


@pytest.fixture
async def web(agent: Agent) -> AsyncIterator[httpx.AsyncClient]:
    async def open_endpoint(definition: dict[str, Any], instead: AgentEndpoint | None) -> AgentEndpoint:
        if instead is not None:
            await instead.close()
        return await agent.open(HTTPS, parse_upstream(definition["addr"]), name=definition["name"])

    interface = WebInterface(agent, "127.0.0.1:0", open_endpoint=open_endpoint)
    async with httpx.AsyncClient(base_url=await interface.start(), trust_env=False, timeout=60) as client:
        yield client
    await interface.close()


async def pass_request(server: AgentServer, endpoint: AgentEndpoint, request: bytes) -> None:
    visitor = server.visit(endpoint.id, request)
    await visitor.until(lambda visitor: visitor.received.endswith(b"ok"))
    visitor.finish()


async def test_status_and_root(web: httpx.AsyncClient) -> None:
    status = (await web.get("/api/status")).json()
    assert (status["status"], status["session"]["legs"][0]["region"]) == ("online", "here")
    assert (await web.get("/api")).json()["tunnels_uri"] == "/api/tunnels"


async def test_endpoints_in_both_shapes(web: httpx.AsyncClient, agent: Agent) -> None:
    endpoint = await agent.open(HTTPS, parse_upstream(8080), name="web/1")
    (tunnel,) = (await web.get("/api/tunnels")).json()["tunnels"]
    assert (tunnel["name"], tunnel["public_url"], tunnel["proto"]) == ("web/1", endpoint.url, "https")
    assert tunnel["config"] == {"addr": "http://localhost:8080", "inspect": True}
    assert set(tunnel["metrics"]) == {"conns", "http"}
    assert set(tunnel["metrics"]["conns"]) == {
        "count", "gauge", "rate1", "rate5", "rate15", "p50", "p90", "p95", "p99",
    }  # fmt: skip
    (item,) = (await web.get("/api/endpoints")).json()["endpoints"]
    assert (item["url"], item["upstream"]["url"], item["online"]) == (endpoint.url, "http://localhost:8080", True)


async def test_one_endpoint_opened_shown_and_closed(web: httpx.AsyncClient, agent: Agent) -> None:
    created = await web.post("/api/tunnels", json={"name": "new", "addr": "8080"})
    assert (created.status_code, created.json()["name"]) == (201, "new")
    assert (await web.get("/api/tunnels/new")).json() == created.json()
    assert (await web.get("/api/endpoints/new")).json()["name"] == "new"
    assert (await web.delete("/api/tunnels/new")).status_code == 204
    assert agent.endpoints == []
    assert (await web.get("/api/tunnels/new")).status_code == 404
    refused = await web.post("/api/tunnels", json={"name": "bad", "addr": "ftp://x"})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "PORTICO_20063")


async def test_an_endpoint_is_put_in_the_place_of_another(web: httpx.AsyncClient, agent: Agent) -> None:
    created = await web.put("/api/endpoints", json={"name": "new", "addr": "8080"})
    assert (created.status_code, created.json()["upstream"]["url"]) == (201, "http://localhost:8080")
    [first] = agent.endpoints
    replaced = await web.put("/api/endpoints/new", json={"addr": "9090"})
    assert (replaced.status_code, replaced.json()["upstream"]["url"]) == (200, "http://localhost:9090")
    assert first.closed
    assert [endpoint.name for endpoint in agent.endpoints] == ["new"]


async def test_requests_are_listed_shown_replayed_and_cleared(
    web: httpx.AsyncClient, agent: Agent, server: AgentServer, upstream: tuple[int, list[bytes]]
) -> None:
    port, heads = upstream
    endpoint = await agent.open(HTTPS, parse_upstream(port), name="web")
    await pass_request(
        server, endpoint, b"POST /form HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nContent-Length: 4\r\n\r\na=b&"
    )
    (entry,) = (await web.get("/api/requests/http")).json()["requests"]
    assert (entry["tunnel_name"], entry["request"]["method"], entry["request"]["uri"]) == ("web", "POST", "/form")
    assert entry["request"]["headers"]["X"] == ["1", "2"]
    assert (entry["response"]["status_code"], entry["response"]["status"]) == (201, "201 Created")
    assert base64.b64decode(entry["request"]["raw"]) == heads[0]
    assert (await web.get(entry["uri"])).json() == entry
    assert (await web.post("/api/requests/http", json={"id": entry["id"]})).status_code == 204
    await until(lambda: len(heads) == 2)
    assert heads[1].endswith(b"\r\n\r\na=b&")
    assert f"Portico-Replay-Original-Request-ID: {entry['id']}".encode() in heads[1]
    requests = (await web.get("/api/requests/http?limit=10&tunnel_name=web")).json()["requests"]
    assert [found["response"]["status_code"] for found in requests] == [201, 201]
    assert (await web.get("/api/tunnels/web")).json()["metrics"]["http"]["count"] == 1
    assert (await web.get("/api/requests/http?limit=1")).json()["requests"] == requests[:1]
    assert (await web.get("/api/requests/http?tunnel_name=other")).json()["requests"] == []
    assert (await web.delete("/api/requests/http")).status_code == 204
    assert (await web.get("/api/requests/http")).json()["requests"] == []
    assert (await web.get(entry["uri"])).status_code == 404


async def test_what_was_kept_in_part_is_not_replayed(
    web: httpx.AsyncClient, agent: Agent, server: AgentServer, upstream: tuple[int, list[bytes]]
) -> None:
    endpoint = await agent.open(HTTPS, parse_upstream(upstream[0]), name="web")
    size = BODY_LIMIT + 1
    await pass_request(
        server, endpoint, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    )
    (entry,) = (await web.get("/api/requests/http")).json()["requests"]
    assert entry["request"]["truncated"]
    assert (await web.post("/api/requests/http", json={"id": entry["id"]})).status_code == 400


async def test_a_replay_to_a_dead_upstream(
    web: httpx.AsyncClient, agent: Agent, server: AgentServer, upstream: tuple[int, list[bytes]]
) -> None:
    endpoint = await agent.open(HTTPS, parse_upstream(upstream[0]), name="web")
    await pass_request(server, endpoint, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    endpoint.forward_to(parse_upstream(1))
    (entry,) = (await web.get("/api/requests/http")).json()["requests"]
    answer = await web.post("/api/requests/http", json={"id": entry["id"]})
    assert answer.status_code == 502
    assert "refused" in answer.json()["msg"]


@pytest.mark.parametrize(
    ("method", "path", "request_args", "status"),
    [
        ("GET", "/api/requests/http?limit=x", {}, 400),
        ("GET", "/api/nothing", {}, 404),
        ("POST", "/api/requests/http", {"content": "{}"}, 415),
        ("POST", "/api/requests/http", {"content": "{", "headers": {"content-type": "application/json"}}, 400),
        (
            "POST",
            "/api/requests/http",
            {"content": "[" * 100_000, "headers": {"content-type": "application/json"}},
            400,
        ),
        ("POST", "/api/requests/http", {"json": []}, 400),
        ("POST", "/api/requests/http", {"json": {"id": "none"}}, 404),
        ("DELETE", "/api/tunnels/none", {}, 404),
        ("PATCH", "/api/tunnels", {}, 405),
        ("PUT", "/api/endpoints", {"json": {"addr": "80"}}, 400),
        ("PUT", "/api/endpoints/a", {"json": {"name": "b", "addr": "80"}}, 400),
    ],
)
async def test_bad_requests(
    web: httpx.AsyncClient, method: str, path: str, request_args: dict[str, Any], status: int
) -> None:
    answer = await web.request(method, path, **request_args)
    assert (answer.status_code, answer.json()["status_code"]) == (status, status)


async def test_pages(web: httpx.AsyncClient) -> None:
    assert (await web.get("/")).headers["location"] == "/inspect/http"
    for path in ("/inspect/http", "/status"):
        page = await web.get(path)
        assert "<title>Portico agent</title>" in page.text
        assert "script-src 'sha256-" in page.headers["content-security-policy"]
        assert "src=" not in page.text


async def test_pages_of_others_are_kept_out(web: httpx.AsyncClient) -> None:
    assert (await web.get("/api/status", headers={"host": "evil.example"})).status_code == 403
    assert (await web.delete("/api/requests/http", headers={"sec-fetch-site": "cross-site"})).status_code == 403
    assert (await web.get("/api/status", headers={"host": "localhost:4040"})).status_code == 200


def test_allowed_hosts() -> None:
    async def app(*_: object) -> None:
        pass

    check = HostCheck(app, ["Box.example", "10.0.0.0/8"])
    allowed = {"localhost", "127.0.0.1:4040", "[::1]:4040", "box.example:1", "BOX.EXAMPLE", "10.1.2.3:4040"}
    refused = {"", "evil.example", "localhost.evil.example", "11.1.2.3", "[::2]", "127.0.0.1.evil.example"}
    assert {host for host in allowed | refused if check.allows(host)} == allowed
    assert HostCheck(app, ["*"]).allows("anything")


async def test_the_next_free_port(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        interface = WebInterface(agent, f"127.0.0.1:{port}")
        url = await interface.start()
        assert int(url.rpartition(":")[2]) > port
        await interface.close()


@pytest.mark.parametrize("address", ["", "4040", "localhost", "localhost:x", "localhost:99999"])
async def test_addresses_that_are_none(agent: Agent, address: str) -> None:
    with pytest.raises(PorticoError, match="web_addr"):
        WebInterface(agent, address)


async def test_an_address_that_is_not_ours(agent: Agent) -> None:
    with pytest.raises(PorticoError) as caught:
        await WebInterface(agent, "192.0.2.1:4040").start()
    assert caught.value.code is ADDRESS_IN_USE
