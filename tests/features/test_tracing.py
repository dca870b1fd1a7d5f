"""Traces of a visit: from the visitor's own span, if he has one, over the edge's two to the upstream."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import portico
from kit.cli import running_agent
from kit.collector import Collector, attributes, grpc_collector, http_collector
from kit.edge import RunningEdge, running_edge
from kit.envoy import eventually
from kit.polling import eventually as until
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from kit.visit import visit
from kit.web_service import web_service
from portico.model.observability import Tracing

Collecting = Callable[[], AbstractAsyncContextManager[Collector]]
TRACE = "0af7651916cd43dd8448eb211c80319c"
VISITORS = f"00-{TRACE}-b7ad6b7169203331-01"
CLIENT, SERVER = 3, 2
"""Kinds of spans (opentelemetry/proto/trace/v1/trace.proto)."""


def to(collector: Collector, **more: Any) -> Tracing:
    known: dict[str, Any] = {"grpc": False, "tls": False, "path": "/v1/traces", "percent": 100}
    return Tracing("127.0.0.1", collector.port, **{**known, **more})


async def asked(edge: TranslatedEdge, path: str = "/x", **headers: str) -> str:
    """The `traceparent` that the upstream saw."""
    answer = await edge.get("a.edge.test", path, headers=headers)
    found = re.search(r"^traceparent: (.*)\r$", answer.text, re.MULTILINE)
    assert found is not None
    return found[1]


async def published(edge: TranslatedEdge) -> None:
    await edge.publish(endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")))


async def spans_of(edge: TranslatedEdge, collector: Collector, trace: str, count: int = 2) -> list[Any]:
    for _ in range(2):
        await asked(edge)  # of other traces: Envoy sends five spans at once, and fewer after 5 s

    def known() -> list[Any] | None:
        of_trace = [span for span in collector.spans if span.trace_id.hex() == trace]
        return of_trace if len(of_trace) >= count else None

    found: list[Any] = await eventually(known, 30)
    return found


@pytest.mark.parametrize("collecting", [http_collector, grpc_collector])
async def test_a_visitors_trace_goes_on_to_the_upstream(collecting: Collecting) -> None:
    async with collecting() as collector:
        rules = to(collector, grpc=collecting is grpc_collector, headers=(("x-key", "of-the-collector"),))
        async with translated_edge(tracing=rules) as edge:
            await published(edge)
            seen = await asked(edge, "/x?token=secret", traceparent=VISITORS)
            spans = {span.kind: span for span in await spans_of(edge, collector, TRACE)}
    assert spans[SERVER].parent_span_id.hex() == VISITORS.split("-")[2]
    assert spans[CLIENT].parent_span_id == spans[SERVER].span_id
    assert seen == f"00-{TRACE}-{spans[CLIENT].span_id.hex()}-01"
    known = dict(attributes(spans[SERVER]))
    assert known["portico.endpoint"] == "https://a.edge.test"
    assert known["http.url"] == "https://a.edge.test/x"
    assert not any("secret" in value for span in spans.values() for _, value in attributes(span))
    assert collector.services == {"portico-edge"}
    assert collector.headers[0]["x-key"] == "of-the-collector"


async def test_a_visitor_without_a_trace_begins_one() -> None:
    async with http_collector() as collector, translated_edge(tracing=to(collector)) as edge:
        await published(edge)
        trace = (await asked(edge)).split("-")[1]
        server = next(span for span in await spans_of(edge, collector, trace) if span.kind == SERVER)
    assert server.parent_span_id == b""


async def test_where_visitors_may_not_join_each_trace_begins_at_the_edge() -> None:
    async with http_collector() as collector, translated_edge(tracing=to(collector, join=False)) as edge:
        await published(edge)
        trace = (await asked(edge, traceparent=VISITORS)).split("-")[1]
        server = next(span for span in await spans_of(edge, collector, trace) if span.kind == SERVER)
    assert trace != TRACE
    assert server.parent_span_id == b""


async def test_what_is_not_sampled_is_told_so_whatever_the_visitor_says() -> None:
    async with http_collector() as collector, translated_edge(tracing=to(collector, percent=0)) as edge:
        await published(edge)
        seen = await asked(edge, traceparent=VISITORS)
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", seen)
    assert collector.spans == []


async def test_a_collector_that_is_away_is_no_matter_to_visitors() -> None:
    gone = Tracing("127.0.0.1", 9, grpc=False, tls=False, path="/v1/traces", percent=100)
    async with translated_edge(tracing=gone) as edge:
        await published(edge)
        assert (await edge.get("a.edge.test")).status == 200


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """One that traces."""
    with running_edge(tmp_path_factory.mktemp("edge"), "--tracing-endpoint", "http://127.0.0.1:9") as running:
        yield running


def test_the_edges_trace_reaches_a_service_behind_an_agent(edge: RunningEdge) -> None:
    with (
        web_service() as service,
        portico.forward(
            service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
        ) as listener,
    ):
        seen = visit(edge, listener.url(), "/headers", headers={"traceparent": VISITORS}).json()
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", seen["traceparent"])
    assert seen["traceparent"] != VISITORS


def test_the_agents_inspector_shows_the_trace(edge: RunningEdge) -> None:
    with web_service() as service, running_agent(edge, "http", str(service)) as agent:
        seen = visit(edge, agent.url(), "/headers", headers={"traceparent": VISITORS}).json()
        address = agent.record("address")["address"]
        (entry,) = until(lambda: inspected(address))
        assert agent.stop() == 0
    shown = {name.lower(): values for name, values in entry["request"]["headers"].items()}
    assert shown["traceparent"] == [seen["traceparent"]]
    assert TRACE in seen["traceparent"]


def inspected(local: str) -> list[Any]:
    """The requests that an agent's local interface lists."""
    with urllib.request.urlopen(f"{local}/api/requests/http") as answer:
        found: list[Any] = json.load(answer)["requests"]
        return found
