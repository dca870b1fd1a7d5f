"""One trace through visitor, edge, agent and upstream; the edge's spans are Envoy's, the agent's OpenTelemetry's."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

import portico
from kit.cli import running_agent
from kit.collector import Collector, attributes, http_collector
from kit.edge import RunningEdge, running_edge
from kit.envoy import eventually
from kit.visit import trust, visit_async
from kit.web_service import web_service

TRACE, VISITOR = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{VISITOR}-01"}
CLIENT, SERVER = 3, 2
"""Kinds of spans (opentelemetry/proto/trace/v1/trace.proto)."""
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with web_service() as address:
        yield str(address)


@pytest.fixture(scope="module")
def untraced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("untraced")) as edge:
        yield edge


async def _spans(collector: Collector, count: int) -> list[Any]:
    found: list[Any] = await eventually(lambda: collector.spans if len(collector.spans) >= count else None, 30)
    return found


def _chain(spans: list[Any]) -> list[Any]:
    """Spans from the one without a parent among them downwards."""
    by_parent = {span.parent_span_id: span for span in spans}
    ids = {span.span_id for span in spans}
    (first,) = (span for span in spans if span.parent_span_id not in ids)
    chain = [first]
    while (below := by_parent.get(chain[-1].span_id)) is not None:
        chain.append(below)
    return chain


async def test_a_trace_goes_through_edge_agent_and_upstream(tmp_path: Path, service: str) -> None:
    async with http_collector() as collector:
        address = f"http://127.0.0.1:{collector.port}"
        with (
            running_edge(tmp_path, "--tracing-endpoint", address) as edge,
            running_agent(edge, "http", service, "--tracing-endpoint", address, **AT_ONCE) as agent,
        ):
            url = agent.url()
            answer = await visit_async(edge, url, "/headers?token=secret", headers=TRACEPARENT)
            chain = _chain(await _spans(collector, 4))
            assert await asyncio.to_thread(agent.stop) == 0
    assert {span.trace_id.hex() for span in chain} == {TRACE}
    assert [span.kind for span in chain] == [SERVER, CLIENT, SERVER, CLIENT]
    assert chain[0].parent_span_id.hex() == VISITOR
    assert answer.json()["traceparent"] == f"00-{TRACE}-{chain[-1].span_id.hex()}-01"
    assert collector.services == {"portico-edge", "portico-agent"}
    assert dict(attributes(chain[2]))["url.path"] == "/headers"
    assert not any("secret" in value for span in chain for _, value in attributes(span))


async def test_what_the_edge_does_not_sample_no_agent_records(tmp_path: Path, service: str) -> None:
    async with http_collector() as collector:
        address = f"http://127.0.0.1:{collector.port}"
        with (
            running_edge(tmp_path, "--tracing-endpoint", address, "--tracing-percent", "0") as edge,
            running_agent(edge, "http", service, "--tracing-endpoint", address) as agent,
        ):
            answer = await visit_async(edge, agent.url(), "/headers", headers=TRACEPARENT)
            assert await asyncio.to_thread(agent.stop) == 0  # sends what it has
    assert answer.json()["traceparent"].endswith("-00")
    assert collector.spans == []


async def test_the_environment_names_the_collector_the_service_and_the_headers(
    untraced: RunningEdge, service: str
) -> None:
    async with http_collector() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=of-the-collector",
            "OTEL_SERVICE_NAME": "my-agent",
        }
        with running_agent(untraced, "http", service, "--log-level", "debug", **environment) as agent:
            answer = await visit_async(untraced, agent.url(), "/headers")
            assert await asyncio.to_thread(agent.stop) == 0
    server, client = _chain(collector.spans)
    assert server.parent_span_id == b""
    assert answer.json()["traceparent"].split("-")[2] == client.span_id.hex()
    assert collector.services == {"my-agent"}
    assert collector.headers[0]["x-key"] == "of-the-collector"
    assert "of-the-collector" not in json.dumps(agent.records)


async def test_an_upstream_that_is_away(untraced: RunningEdge) -> None:
    async with http_collector() as collector:
        address = f"http://127.0.0.1:{collector.port}"
        with running_agent(untraced, "http", "127.0.0.1:1", "--tracing-endpoint", address) as agent:
            answer = await visit_async(untraced, agent.url())
            assert await asyncio.to_thread(agent.stop) == 0
    assert answer.status_code == 502
    assert [dict(attributes(span))["error.type"] for span in _chain(collector.spans)] == ["refused", "refused"]


async def test_a_websocket_is_one_request_until_it_closes(untraced: RunningEdge, service: str) -> None:
    async with http_collector() as collector:
        address = f"http://127.0.0.1:{collector.port}"
        listener = await _listener(untraced, service, address)
        address = urlsplit(listener.url())
        url = f"wss://{address.hostname}:{address.port}/echo"
        async with connect(url, host="127.0.0.1", ssl=trust(untraced), proxy=None) as socket:
            await socket.send("hello")
            assert await socket.recv() == "echo:hello"
            assert collector.spans == []
        await listener.close()
    server, _ = _chain(collector.spans)
    assert {a.key: a.value.int_value for a in server.attributes}["http.response.status_code"] == 101


async def _listener(edge: RunningEdge, service: str, collector: str) -> portico.Listener:
    return await portico.forward(
        service,
        authtoken=edge.authtoken,
        connect_url=edge.connect_url,
        connect_cas=str(edge.ca),
        tracing_endpoint=collector,
    )


async def test_an_sdk_traces_too(untraced: RunningEdge, service: str) -> None:
    async with http_collector() as collector:
        listener = await _listener(untraced, service, f"http://127.0.0.1:{collector.port}")
        answer = await visit_async(untraced, listener.url(), "/headers", headers=TRACEPARENT)
        await listener.close()
    server, client = _chain(collector.spans)
    assert server.parent_span_id.hex() == VISITOR
    assert answer.json()["traceparent"] == f"00-{TRACE}-{client.span_id.hex()}-01"


async def test_a_collector_that_is_away_is_no_matter_to_visitors(untraced: RunningEdge, service: str) -> None:
    with running_agent(untraced, "http", service, "--tracing-endpoint", "http://127.0.0.1:9", **AT_ONCE) as agent:
        assert (await visit_async(untraced, agent.url(), "/headers")).status_code == 200
        assert await asyncio.to_thread(agent.stop) == 0
