"""What operators and orchestrators ask a node: `/healthz`, `/readyz`, `/metrics`."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from portico.model.acme import AutomaticState
from portico.version import __version__

log = logging.getLogger(__name__)


class Metrics:
    """Control's own counters; what relays and Envoy count is asked of them when somebody looks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.binds = Counter("portico_binds", "Binds asked for, by outcome code.", ["outcome"], registry=self.registry)
        self.sessions = Counter(
            "portico_authentications", "Agents' Auth requests, by outcome code.", ["outcome"], registry=self.registry
        )
        self.publish_seconds = Histogram(
            "portico_publish_seconds",
            "From an endpoint's change to Envoy's acknowledgement.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=self.registry,
        )


@dataclass(frozen=True, slots=True)
class NodeState:
    """A look at the node: whether it serves, and what is live on it."""

    ready: bool
    reasons: tuple[str, ...]
    """What is missing to be ready, for people."""
    sessions: int
    endpoints: int
    certificate_days: float
    """Days until the edge's own certificate expires."""
    automatic: tuple[AutomaticState, ...] = ()
    """The certificates of public authorities."""


class _StateCollector:
    def __init__(self, state: NodeState, relays: dict[str, dict[str, float]], started: float) -> None:
        self._state = state
        self._relays = relays
        self._started = started

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("portico_build_info", "Version of this control process.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily("portico_ready", "Whether everything serves.", value=float(self._state.ready))
        yield GaugeMetricFamily("portico_sessions", "Agent sessions now.", value=self._state.sessions)
        yield GaugeMetricFamily("portico_endpoints", "Endpoints online now.", value=self._state.endpoints)
        yield GaugeMetricFamily(
            "portico_edge_certificate_expiry_days",
            "Days until the edge's own certificate expires.",
            value=self._state.certificate_days,
        )
        yield GaugeMetricFamily("portico_control_start_time_seconds", "Unix time of start.", value=self._started)
        yield from _certificate_metrics(self._state.automatic)
        for name in sorted({name for figures in self._relays.values() for name in figures}):
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(f"portico_relay_{name.removesuffix('_total')}", f"Relay figure {name}.", labels=["relay"])
            for relay, figures in self._relays.items():
                if name in figures:
                    family.add_metric([relay], figures[name])
            yield family


def _certificate_metrics(states: tuple[AutomaticState, ...]) -> Iterator[Metric]:
    expiry = GaugeMetricFamily(
        "portico_automatic_certificate_expiry_timestamp_seconds",
        "Unix time at which an automatic certificate expires.",
        labels=["name"],
    )
    failures = GaugeMetricFamily(
        "portico_automatic_certificate_failures", "Orders that failed since the last success.", labels=["name"]
    )
    for state in states:
        if state.not_after is not None:
            expiry.add_metric([state.name], state.not_after.timestamp())
        if state.failures:
            failures.add_metric([state.name], state.failures)
    counts = GaugeMetricFamily("portico_automatic_certificates", "Automatic certificates by state.", labels=["state"])
    for name in ("pending", "valid", "renewing", "failing"):
        counts.add_metric([name], sum(state.state == name for state in states))
    yield from (counts, expiry, failures)


async def healthz(_: Request) -> Response:
    """Alive."""
    return PlainTextResponse("ok\n")


def admin_app(
    metrics: Metrics,
    state: Callable[[], NodeState],
    relay_figures: Callable[[], Awaitable[dict[str, dict[str, float]]]],
    envoy_figures: Callable[[], Awaitable[str]],
) -> Starlette:
    """The application behind `--admin-addr`. `envoy_figures` yields Prometheus text."""
    started = time.time()

    async def readyz(_: Request) -> Response:
        now = state()
        return JSONResponse(
            {"ready": now.ready, "missing": now.reasons, "sessions": now.sessions, "endpoints": now.endpoints},
            status_code=200 if now.ready else 503,
        )

    async def show_metrics(_: Request) -> Response:
        relays, envoy = await asyncio.gather(relay_figures(), envoy_figures())
        look = CollectorRegistry()
        look.register(_StateCollector(state(), relays, started))
        text = generate_latest(look) + generate_latest(metrics.registry) + envoy.encode()
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)],
    )
