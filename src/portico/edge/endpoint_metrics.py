"""Which endpoints have figures of their own, and those figures as /metrics shows them.

Envoy counts (`translate/metrics.py`). Here its names become ours, with the endpoint's URL as a label: of at most as
many endpoints as the settings say, and of `other`, the sum of the rest. So nobody who makes endpoints makes series.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample

from portico.model.endpoint import Endpoint, EndpointUrl
from portico.translate.metrics import OTHERS, stat_name

_OF_CLUSTER: Final = re.compile(r'^envoy_cluster_\w+\{[^\n]*envoy_cluster_name="([^"]*)"[^\n]*\n', re.MULTILINE)
_COUNTERS: Final = {
    "envoy_cluster_upstream_rq_xx": ("requests", {}),
    "envoy_cluster_upstream_cx_total": ("connections", {}),
    "envoy_cluster_upstream_cx_tx_bytes_total": ("bytes", {"direction": "in"}),
    "envoy_cluster_upstream_cx_rx_bytes_total": ("bytes", {"direction": "out"}),
}
_GAUGES: Final = {
    "envoy_cluster_upstream_rq_active": "active_requests",
    "envoy_cluster_upstream_cx_active": "active_connections",
}
_SECONDS: Final = "envoy_cluster_upstream_rq_time"


class EndpointMetrics:
    """First come, first served; who goes leaves the place to the next who comes."""

    def __init__(self, most: int | None) -> None:
        """`most` endpoints may have figures of their own; None means that no endpoint's are counted at all."""
        self._most = most or 0
        self._urls: dict[EndpointUrl, str] = {}

    def admits(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint, about to be published, has figures of its own; it keeps them until it goes."""
        if not endpoint.addresses and not endpoint.pools:
            self.forget(endpoint.url)
            return False
        if endpoint.url not in self._urls and len(self._urls) >= self._most:
            return False
        self._urls[endpoint.url] = stat_name(endpoint.url)
        return True

    def forget(self, url: EndpointUrl) -> None:
        """The endpoint is gone."""
        self._urls.pop(url, None)

    def shown(self, envoy: str) -> str:
        """Envoy's figures in the text format of Prometheus, with those of endpoints under our names behind them."""
        if not self._most:
            return envoy
        labels = {name: str(url) for url, name in self._urls.items()} | {OTHERS: "other"}
        found: list[str] = []

        def taken(line: re.Match[str]) -> str:
            if line[1] in labels:
                found.append(line[0])
            return "" if re.fullmatch(r"[0-9a-f]{16}|others", line[1]) else line[0]

        rest = _OF_CLUSTER.sub(taken, envoy)
        registry = CollectorRegistry()
        registry.register(_Figures(found, labels))
        return rest + generate_latest(registry).decode()


class _Figures:
    def __init__(self, lines: list[str], labels: dict[str, str]) -> None:
        self._lines = lines
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """The families of figures, those of endpoints that Envoy has counted something of."""
        samples = [
            sample for family in text_string_to_metric_families("".join(self._lines)) for sample in family.samples
        ]
        yield from _counters(samples, self._labels)
        yield from _gauges(samples, self._labels)
        yield _durations(samples, self._labels)


def _counters(samples: Iterable[Sample], labels: dict[str, str]) -> Iterator[Metric]:
    texts = {
        "requests": ("Requests that the edge led to an endpoint, by class of the status.", ["endpoint", "status"]),
        "connections": ("Connections that the edge opened to an endpoint's upstreams.", ["endpoint"]),
        "bytes": ("Bytes to (in) and from (out) an endpoint's upstreams.", ["endpoint", "direction"]),
    }
    families = {
        name: CounterMetricFamily(f"portico_endpoint_{name}", text, labels=keys) for name, (text, keys) in texts.items()
    }
    for sample in samples:
        if sample.name in _COUNTERS:
            name, more = _COUNTERS[sample.name]
            status = sample.labels.get("envoy_response_code_class")
            values = [_endpoint(sample, labels), *([f"{status}xx"] if status else []), *more.values()]
            families[name].add_metric(values, sample.value)
    yield from families.values()


def _gauges(samples: Iterable[Sample], labels: dict[str, str]) -> Iterator[Metric]:
    texts = {
        "active_requests": "Requests, WebSockets and other streams of an endpoint now.",
        "active_connections": "Connections to an endpoint's upstreams now.",
    }
    families = {
        name: GaugeMetricFamily(f"portico_endpoint_{name}", text, labels=["endpoint"]) for name, text in texts.items()
    }
    for sample in samples:
        if sample.name in _GAUGES:
            families[_GAUGES[sample.name]].add_metric([_endpoint(sample, labels)], sample.value)
    yield from families.values()


def _durations(samples: Iterable[Sample], labels: dict[str, str]) -> Metric:
    family = HistogramMetricFamily(
        "portico_endpoint_request_seconds",
        "From the request's end to the end of the upstream's answer.",
        labels=["endpoint"],
    )
    buckets: dict[str, list[tuple[str, float]]] = {}
    sums: dict[str, float] = {}
    for sample in samples:
        if sample.name == f"{_SECONDS}_bucket":
            bound = sample.labels["le"]
            seconds = bound if bound == "+Inf" else str(float(bound) / 1000)  # Envoy counts milliseconds
            buckets.setdefault(_endpoint(sample, labels), []).append((seconds, sample.value))
        elif sample.name == f"{_SECONDS}_sum":
            sums[_endpoint(sample, labels)] = sample.value / 1000
    for endpoint, known in buckets.items():
        family.add_metric([endpoint], known, sums.get(endpoint, 0))
    return family


def _endpoint(sample: Sample, labels: dict[str, str]) -> str:
    return labels[sample.labels["envoy_cluster_name"]]
