"""A line for each handshake with a visitor that failed, in the form of Envoy's own log (`envoy/process.py`)."""

from typing import Final

from portico.translate.typed import Body, extension

COMPONENT: Final = "handshake"
"""What tells these lines from Envoy's own."""

_FACTS: Final = {
    "reason": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "server_name": "%REQUESTED_SERVER_NAME%",
    "visitor": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "chain": "%FILTER_CHAIN_NAME%",
    "subject": "%DOWNSTREAM_PEER_SUBJECT%",
    "issuer": "%DOWNSTREAM_PEER_ISSUER%",
    "expires": "%DOWNSTREAM_PEER_CERT_V_END%",
}


def failed_handshakes() -> Body:
    """The listener's access log; a connection whose handshake succeeded leaves nothing in it."""
    line = {"level": "info", "component": COMPONENT, "message": "a visitor's handshake failed", "facts": _FACTS}
    return {
        "filter": {
            "extension_filter": extension(
                "envoy.access_loggers.extension_filters.cel",
                "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                expression="connection.transport_failure_reason != ''",
            )
        },
        **extension(
            "envoy.access_loggers.stderr",
            "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
            log_format={"json_format": line},
        ),
    }
