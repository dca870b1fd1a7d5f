"""Where an agent's spans go: OpenTelemetry's own SDK (`portico[otel]`), imported only where traces are asked for.

What this module does not name is said by OpenTelemetry's environment variables, which the SDK reads itself: headers,
certificates, sampler, batches, resource
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portico.daemon_thread import in_thread
from portico.model.errors import OPTION_INVALID, TRACING_EXTRA_MISSING, PorticoError
from portico.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

OFF: Final = "off"
SERVICE_NAME: Final = "portico-agent"
"""Unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES name another."""
_PATH: Final = "/v1/traces"
_PORT: Final = 4318
"""OTLP's own over HTTP; https://opentelemetry.io/docs/specs/otlp/"""
_PROTOCOL: Final = "http/protobuf"
_GRACE: Final = 2.0
"""Seconds for the last spans when the agent ends."""


class Traces:
    """A tracer, and what takes its spans to the collector in a thread of its own."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self.tracer: Tracer = provider.get_tracer("portico", __version__)

    async def close(self) -> None:
        """Send what is left; what a collector does not take within the grace is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await in_thread(self._provider.shutdown)


def collector_url(text: str) -> str:
    """`http(s)://HOST[:4318][/v1/traces]` in full; `off` stays. Raises PorticoError(OPTION_INVALID)."""
    if text in ("", OFF):
        return text
    try:
        parts = urlsplit(text)
        more = parts.username is not None or bool(parts.query or parts.fragment)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not more
    except ValueError:
        usable = False
    if not usable:
        raise PorticoError(
            OPTION_INVALID,
            "tracing_endpoint: this is not the URL of a collector that takes OTLP over HTTP",
            fix="Write http://HOST:4318, or off.",
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    path = parts.path if parts.path not in ("", "/") else _PATH
    return f"{parts.scheme}://{host}:{parts.port or _PORT}{path}"


def open_traces(endpoint: str, environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Traces to the collector at `endpoint`; where that is empty, to the environment's, if it names one.

    Raises PorticoError(OPTION_INVALID), and PorticoError(TRACING_EXTRA_MISSING) where `endpoint` asks for what is not
    installed. The environment is for all programs, and what it asks for in vain is a warning.
    """
    url = collector_url(endpoint)
    if url == OFF or (not url and not _asked_for(environment)):
        return None
    try:
        return Traces(_provider(url))
    except ImportError as error:
        missing = PorticoError(TRACING_EXTRA_MISSING, f"traces need {error.name}, which is not installed here")
        if url:
            raise missing from None
        log.warning("no traces", extra={"reason": str(missing)})
        return None


def _asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a collector that is spoken to here."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if not any(environment.get(name) for name in names):
        return False
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "").strip() == "none":
        return False
    protocols = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environment[name] for name in protocols if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        log.warning("no traces", extra={"reason": f"OTLP goes out by {_PROTOCOL} alone, not by {protocol}"})
    return protocol == _PROTOCOL


def _provider(url: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get("service.name", "")).partition(":")[0] == "unknown_service":
        resource = resource.merge(Resource({"service.name": SERVICE_NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url or None)))
    return provider
