"""What keeps one visitor from using up the edge, as Envoy enforces it.

What Envoy holds for a visitor is bounded by `clusters.BUFFER_BYTES`, so a slow one costs little; these limits end those
who are slower than anybody is in good faith. Floods of HTTP/2 frames (settings, pings, priorities, empty data) meet
Envoy's own bounds.
"""

from typing import Final

from portico.model.limits import VisitorLimits
from portico.translate.typed import Body, extension

CLOSING: Final = "5s"
"""How long a connection that ends with its answer may stand still while the rest of that answer waits to be read.
Envoy's default of one second cuts off whoever pauses near the end of a download. More would keep visitors waiting for
the rest of an answer that its upstream has cut: in HTTP/1.1 they see that only when the connection ends. So it is, too,
where a WebSocket's service is the one that ends the connection: Envoy waits for the visitor's end."""


def reading(limits: VisitorLimits) -> Body:
    """How requests are read. Length beside chunked, bad chunks and bad characters are refused by Envoy's defaults."""
    return {
        "strip_trailing_host_dot": True,
        "normalize_path": True,
        "max_request_headers_kb": limits.header_kib,
        "http_protocol_options": {"enable_trailers": True, "accept_http_10": True},
        "http2_protocol_options": {
            "max_concurrent_streams": limits.streams,
            "initial_stream_window_size": 262_144,
            "initial_connection_window_size": 1_048_576,
            # No WebSocket in HTTP/2 (RFC 8441): Envoy would turn it into a handshake of HTTP/1.1 without a key, which
            # services refuse (https://github.com/envoyproxy/envoy/issues/8547). Browsers then use HTTP/1.1 for it.
            "allow_connect": False,
            # CVE-2023-44487, where requests are cancelled as fast as they are made.
            "stream_reset_burst": limits.stream_resets,
            "stream_reset_rate": limits.stream_resets_per_second,
        },
        "common_http_protocol_options": _connection(limits),
        # HTTP/1.1 has no word for an end that is near: the connection ends behind the next answer, not within one.
        **({"http1_safe_max_connection_duration": True} if limits.connection_seconds else {}),
    }


def _connection(limits: VisitorLimits) -> Body:
    options: Body = {"idle_timeout": seconds(limits.keepalive_seconds), "max_headers_count": limits.headers}
    if limits.requests_per_connection is not None:
        options["max_requests_per_connection"] = limits.requests_per_connection
    if limits.connection_seconds is not None:
        options["max_connection_duration"] = seconds(limits.connection_seconds)
    return options


def timeouts(limits: VisitorLimits, idle_seconds: int) -> Body:
    """The times of a connection manager; `idle_seconds` bounds the silence of a stream."""
    times: Body = {
        "request_headers_timeout": seconds(limits.header_seconds),
        "stream_idle_timeout": f"{idle_seconds}s",
        # Nothing of the answer is missing any more but the visitor's reading.
        "stream_flush_timeout": seconds(limits.reading_seconds),
        "delayed_close_timeout": CLOSING,
    }
    if limits.request_seconds is not None:
        times["request_timeout"] = seconds(limits.request_seconds)
    return times


def of_listener(limits: VisitorLimits) -> Body:
    """What ends connections, whatever is spoken on them: nothing at all is read while the buffer is full."""
    return {"per_connection_buffer_high_watermark_timeout": seconds(limits.reading_seconds)}


def of_proxied_bytes(limits: VisitorLimits) -> Body:
    """What ends connections of tls and tcp endpoints."""
    if limits.connection_seconds is None:
        return {}
    return {"max_downstream_connection_duration": seconds(limits.connection_seconds)}


def body_filter(limits: VisitorLimits) -> list[Body]:
    """The HTTP filter that refuses larger bodies, by their declared length or once they are longer (413)."""
    if limits.body_bytes is None:
        return []
    return [
        extension(
            "body-limit",
            "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
            max_request_bytes=limits.body_bytes,
        )
    ]


def seconds(value: float) -> str:
    """A duration as proto JSON has it."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
