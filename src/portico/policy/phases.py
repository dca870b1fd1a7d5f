"""The moments of a connection's life at which rules run."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """In the order in which they come (https://ngrok.com/docs/traffic-policy/how-it-works/)."""

    TCP_CONNECT = "on_tcp_connect"
    HTTP_REQUEST = "on_http_request"
    HTTP_RESPONSE = "on_http_response"


HTTP: Final = (Phase.HTTP_REQUEST, Phase.HTTP_RESPONSE)
ALL: Final = tuple(Phase)
OTHER_NAMES: Final = {
    "inbound": Phase.HTTP_REQUEST,
    "outbound": Phase.HTTP_RESPONSE,
    "on_tls_request": Phase.TCP_CONNECT,
}
"""`inbound` and `outbound` come from older SDKs; `on_tls_request` stands in an example of ngrok's for terminate-tls."""
