"""Figures of single endpoints from the real Envoy: bounded in number, the rest in one sum."""

import asyncio
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from kit.envoy import eventually
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.edge.endpoint_metrics import EndpointMetrics
from portico.envoy.admin import Admin


def by_name(labels: dict[str, str]) -> list[str]:
    """Values, the endpoint's first."""
    return [labels[name] for name in sorted(labels, key=lambda name: (name != "endpoint", name))]


async def figures(edge: TranslatedEdge, metrics: EndpointMetrics) -> dict[tuple[str, ...], float]:
    shown = metrics.shown(await Admin(edge.directory / "envoy-0.admin.sock").metrics())
    return {
        (sample.name.removeprefix("portico_endpoint_"), *by_name(sample.labels)): sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
        if sample.name.startswith("portico_endpoint_")
    }


async def test_each_of_the_first_and_the_sum_of_the_others() -> None:
    metrics = EndpointMetrics(2)
    async with translated_edge(endpoint_metrics=True, bootstrap={"stats_flush_interval": 0.5}) as edge:
        well = await edge.serve(http_upstream("well"), "well")
        ill = await edge.serve(http_upstream("ill", status="503 Service Unavailable"), "ill")
        known = [endpoint(f"https://{name}.edge.test", well) for name in ("a", "c", "d")]
        known.insert(1, endpoint("https://b.edge.test", ill))
        await edge.publish(*(replace(each, metered=metrics.admits(each)) for each in known))
        for host, visits in {"a": 3, "b": 2, "c": 2, "d": 4}.items():
            for _ in range(visits):
                await edge.get(f"{host}.edge.test")
        a, b = "https://a.edge.test", "https://b.edge.test"

        async def counted() -> dict[tuple[str, ...], float] | None:
            found = await figures(edge, metrics)
            return found if found.get(("request_seconds_count", "other")) == 6 else None

        found = await eventually(counted)
        requests = {key[1:]: value for key, value in found.items() if key[0] == "requests_total"}
        assert requests == {(a, "2xx"): 3, (b, "5xx"): 2, ("other", "2xx"): 6}
        assert found["bytes_total", a, "in"] > 0
        assert found["bytes_total", a, "out"] > 0
        assert found["request_seconds_count", a] == 3
        assert {key[1] for key in found} == {a, b, "other"}

        await edge.remove(known[0])
        metrics.forget(known[0].url)
        assert {key[1] for key in await figures(edge, metrics)} == {b, "other"}


async def test_what_is_open_now() -> None:
    metrics = EndpointMetrics(1)
    go_on = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with translated_edge(endpoint_metrics=True) as edge:
        waiting = endpoint("https://a.edge.test", await edge.serve(waits, "a"))
        await edge.publish(replace(waiting, metered=metrics.admits(waiting)))
        visits = [asyncio.create_task(edge.get("a.edge.test")) for _ in range(2)]

        async def open_now(count: int) -> bool:
            return (await figures(edge, metrics)).get(("active_requests", "https://a.edge.test")) == count

        await eventually(lambda: open_now(2))
        go_on.set()
        await asyncio.gather(*visits)
        await eventually(lambda: open_now(0))


async def test_nothing_is_counted_where_it_is_not_asked_for() -> None:
    async with translated_edge() as edge:
        await edge.publish(endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        await edge.get("a.edge.test")
        text = await Admin(edge.directory / "envoy-0.admin.sock").metrics()
    assert 'envoy_cluster_name="https' not in text
