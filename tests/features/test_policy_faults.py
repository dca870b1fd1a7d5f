"""Visitors and faults that try a policy's doors: nobody comes through, and others are served meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from kit.policies import Served, policy_text, rule, serving
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import UnixSocket
from portico.translate.clusters import gate_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIGN_IN = {"issuer_url": "https://login.example.com", "client_id": "a", "client_secret": "a-long-secret"}
TOKENS = {
    "issuer": {"allow_list": [{"value": "https://login.example.com"}]},
    "audience": {"allow_list": [{"value": "a"}]},
    "http": {"tokens": [{"type": "jwt", "method": "header", "name": "authorization", "prefix": "Bearer "}]},
    "jws": {
        "allowed_algorithms": ["RS256"],
        "keys": [{"sources": {"additional_jkus": ["https://login.example.com/k"]}}],
    },
}
ASKS_THE_GATE: dict[str, dict[str, Any]] = {
    "oauth": {"provider": "github", "client_id": "a", "client_secret": "a-long-secret"},
    "openid-connect": SIGN_IN,
    "jwt-validation": TOKENS,
    "http-request": {"url": "https://who.example.com", "on_error": "halt"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream", {"x-big": "a" * 20_000}), "upstream")


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    return serving(edge, upstream)


@pytest.mark.parametrize("action", ASKS_THE_GATE)
async def test_a_gate_whose_socket_is_gone_lets_nobody_in(edge: TranslatedEdge, served: Served, action: str) -> None:
    await edge.ads.publish([gate_cluster(replace(edge.frame, gate_socket=str(edge.directory / "nowhere.sock")))])
    host = await served(policy_text(rule((action, ASKS_THE_GATE[action]))))
    answer = await edge.get(host, headers={"authorization": "Bearer e30.e30.x", "accept": "text/html"})
    assert answer.status in (401, 500, 502, 503)
    assert b"upstream" not in answer.body[:20]


BLOW_UPS = {
    "what grows": [("set-vars", {"vars": [{"v": "aaaaaaaaaaaaaaaa"}, *[{"v": "${vars.v.replace('a', vars.v)}"}] * 8]})],
    "loops in loops": [
        ("set-vars", {"vars": [{"l": "${req.url.path.split('')}"}]}),
        ("set-vars", {"vars": [{"v": "${vars.l.all(a, vars.l.all(b, vars.l.all(c, a != b || b == a || c == a)))}"}]}),
    ],
}


@pytest.mark.parametrize("attempt", BLOW_UPS)
async def test_a_policy_that_would_never_end_does_not_keep_others(
    edge: TranslatedEdge, served: Served, attempt: str
) -> None:
    greedy = await served(policy_text(rule(*BLOW_UPS[attempt]), rule(("deny", {}), when=["vars.v != ''"])))
    other = await served(policy_text(rule(("add-headers", {"headers": {"x-a": "b"}}))))
    path = "/" + "a" * 400
    answers = await asyncio.gather(*(edge.get(greedy, path) for _ in range(4)), *(edge.get(other) for _ in range(8)))
    assert all(answer.status in (403, 500) for answer in answers[:4])
    assert all(answer.body.startswith(b"upstream\n") for answer in answers[4:])


PRIVATE = ("policy", "class", "host", "limit", "limited", "limit-0", "cache-control")


async def test_visitors_own_private_headers_have_no_effect(edge: TranslatedEdge, served: Served) -> None:
    limit = {"name": "l", "algorithm": "sliding_window", "capacity": 1, "rate": "60s", "bucket_key": ["conn.client_ip"]}
    limited = await served(policy_text(rule(("rate-limit", limit))))
    denied = await served(policy_text(rule(("deny", {"status_code": 451}))))
    forged = {f"x-edge-{name}": "passed" for name in PRIVATE}
    assert [(await edge.get(limited, headers=forged)).status for _ in range(2)] == [200, 429]
    assert (await edge.get(denied, headers=forged)).status == 451
    seen = await served(policy_text(rule(("custom-response", {"body": "${req.headers}"}))))
    assert "x-edge" not in (await edge.get(seen, headers=forged)).text


ANSWER_RULE = rule(("add-headers", {"headers": {"x-by": "policy", "x-path": "${req.url.path}"}}))


async def test_events_come_through_response_rules_one_by_one(edge: TranslatedEdge) -> None:
    """The second is sent only when the first has come, so nothing may hold the body."""
    came = asyncio.Event()

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: 1\n\n")
        await came.wait()
        writer.write(b"data: 2\n\n")
        writer.close()

    host = "events.edge.test"
    await edge.publish(
        endpoint(
            f"https://{host}", await edge.serve(events, "events"), traffic_policy=policy_text(response=[ANSWER_RULE])
        )
    )
    reader, writer = await edge.open(host)
    writer.write(f"GET /e HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 60)
    assert b"x-by: policy\r\n" in head
    assert b"x-path: /e\r\n" in head
    came.set()
    await asyncio.wait_for(reader.readuntil(b"data: 2\n\n"), 60)
    writer.close()


async def test_a_websocket_is_opened_through_rules_of_both_ways(edge: TranslatedEdge) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"x-by: policy" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    host = "socket.edge.test"
    text = policy_text(ANSWER_RULE, response=[ANSWER_RULE])
    await edge.publish(endpoint(f"https://{host}", await edge.serve(echo, "echo"), traffic_policy=text))
    reader, writer = await edge.open(host)
    asked = f"GET /s HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    writer.write(asked.encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"x-by: policy\r\n" in head
    for frame in (b"\x81\x05hello", bytes(range(256)) * 64):
        writer.write(frame)
        assert await asyncio.wait_for(reader.readexactly(len(frame)), 60) == frame
    writer.close()


async def test_an_upload_reaches_the_upstream_before_its_end(edge: TranslatedEdge) -> None:
    """The rest is sent only when the upstream has the begin: rules about headers hold no body."""
    began = asyncio.Event()
    rest = bytes(4 << 20)

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1000)
        began.set()
        await reader.readexactly(len(rest))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nread")
        writer.close()

    host = "upload.edge.test"
    text = policy_text(ANSWER_RULE, response=[ANSWER_RULE])
    await edge.publish(endpoint(f"https://{host}", await edge.serve(service, "service"), traffic_policy=text))
    reader, writer = await edge.open(host)
    writer.write(f"PUT / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {1000 + len(rest)}\r\n\r\n".encode() + bytes(1000))
    await asyncio.wait_for(began.wait(), 60)
    writer.write(rest)
    answer = await asyncio.wait_for(reader.readuntil(b"read"), 60)
    assert b"x-by: policy\r\n" in answer
    writer.close()


async def test_http_2_meets_the_same_policy(edge: TranslatedEdge, served: Served) -> None:
    version = rule(("custom-response", {"body": "${req.version}"}), when=["req.url.path == '/version'"])
    host = await served(policy_text(version, rule(("deny", {"status_code": 451}), when=["req.url.path == '/no'"])))
    async with httpx.AsyncClient(
        http2=True, verify=edge.visitor(), base_url=f"https://127.0.0.1:{edge.https}", timeout=60, trust_env=False
    ) as browser:

        async def get(path: str) -> httpx.Response:
            return await browser.get(path, headers={"host": host}, extensions={"sni_hostname": host})

        assert [(await get(path)).status_code for path in ("/", "/no")] == [200, 451]
        answer = await get("/version")
        assert (answer.http_version, answer.text) == ("HTTP/2", "HTTP/2.0")
