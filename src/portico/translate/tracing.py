"""Traces: Envoy's own OpenTelemetry tracer, with a span for the visitor's request and one for the upstream's.

`traceparent` (W3C Trace Context) goes on to the upstream, through the tunnel like every header.
"""

from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.names import is_ip
from portico.model.observability import Tracing
from portico.translate.resource import CLUSTER, Resource
from portico.translate.typed import Body, extension, socket_address, typed

COLLECTOR: Final = "collector"
"""Cluster: where spans go."""
SERVICE_NAME: Final = "portico-edge"
_TIMEOUT: Final = "5s"
_CONTEXT: Final = ("traceparent", "tracestate")


def tracing(frame: EdgeFrame) -> Body:
    """Fields of a connection manager; none where nothing is traced."""
    if frame.tracing is None:
        return {}
    every = {"value": 100}
    return {
        "tracing": {
            "provider": _provider(frame.tracing),
            # The sampler decides, by the trace's number: a visitor's word that his trace is recorded is not heeded.
            "client_sampling": every,
            "random_sampling": every,
            "overall_sampling": every,
            "spawn_upstream_span": True,
            "custom_tags": _tags(),
        }
    }


def untrusted(frame: EdgeFrame) -> tuple[str, ...]:
    """Headers of visitors that would join the edge's spans to a trace of theirs, where that is not wanted."""
    return _CONTEXT if frame.tracing is not None and not frame.tracing.join else ()


def collector_cluster(collector: Tracing, system_authorities: str) -> Resource:
    """Where spans go. Envoy looks the name up itself."""
    body: Body = {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": _TIMEOUT,
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": socket_address(collector.host, collector.port)}}]}
            ],
        },
        "stats_matcher": {"reject_all": True},
    }
    if collector.tls:
        body["transport_socket"] = _verified(collector, system_authorities)
    if collector.grpc:
        options = typed(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            explicit_http_config={"http2_protocol_options": {}},
        )
        body["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    return Resource(CLUSTER, COLLECTOR, body)


def _verified(collector: Tracing, system_authorities: str) -> Body:
    kind = "IP_ADDRESS" if is_ip(collector.host) else "DNS"
    validation = {
        "trusted_ca": {"filename": system_authorities},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": collector.host}}],
    }
    alpn = "h2" if collector.grpc else "http/1.1"
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={"validation_context": validation, "alpn_protocols": [alpn]},
        **({} if is_ip(collector.host) else {"sni": collector.host}),
    )


def _provider(collector: Tracing) -> Body:
    return extension(
        "envoy.tracers.opentelemetry",
        "envoy.config.trace.v3.OpenTelemetryConfig",
        service_name=SERVICE_NAME,
        sampler=extension(
            "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
            "envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig",
            sampling_percentage={"numerator": round(collector.percent * 10_000), "denominator": "MILLION"},
        ),
        **_exporter(collector),
    )


def _exporter(collector: Tracing) -> Body:
    headers = [{"key": key, "value": value} for key, value in collector.headers]
    if collector.grpc:
        service = {"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": _TIMEOUT, "initial_metadata": headers}
        return {"grpc_service": service}
    scheme = "https" if collector.tls else "http"
    uri = {
        "uri": f"{scheme}://{collector.host}:{collector.port}{collector.path}",
        "cluster": COLLECTOR,
        "timeout": _TIMEOUT,
    }
    return {"http_service": {"http_uri": uri, "request_headers_to_add": [{"header": header} for header in headers]}}


def _tags() -> list[Body]:
    """What OpenTelemetry calls attributes. Envoy's own `http.url` has the query, which may hold secrets."""
    values = {
        "http.url": "%REQ(:SCHEME)%://%REQ(X-FORWARDED-HOST)%%PATH(NQ:ORIG_OR_PATH)%",
        "portico.endpoint": "%UPSTREAM_CLUSTER_RAW%",
        "portico.policy.rule": "%DYNAMIC_METADATA(portico:rule)%",
        "portico.policy.action": "%DYNAMIC_METADATA(portico:action)%",
    }
    return [{"tag": tag, "value": value} for tag, value in values.items()]
