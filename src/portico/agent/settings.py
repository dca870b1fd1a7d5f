"""What a session and its forwarding are set up with."""

from portico.agent.edge_address import EdgeAddress
from portico.model.tls import KeyPair
from portico.model.value import Value


class SessionSettings(Value, frozen=True, kw_only=True):
    """How to reach the edge and who is asking. Two equal settings mean the same session."""

    hidden = ("authtoken", "edge_ca_pem", "proxy_url")
    edge: EdgeAddress
    authtoken: str
    connect_cas: str = ""
    """`host` or `trusted` for the system's CAs, or a PEM file or directory."""
    edge_ca_pem: str = ""
    """PEM of the edge's CA itself; goes before `connect_cas`."""
    metadata: str = ""
    heartbeat_interval: float = 10.0
    """Seconds between beats."""
    heartbeat_tolerance: float = 15.0
    """Seconds of silence beyond the interval after which the link is given up."""
    proxy_url: str = ""
    """HTTP or SOCKS5 proxy on the way to the edge, with a password perhaps; empty for none."""
    connect_timeout: float = 10.0
    """Seconds for connection, TLS handshake and authentication together."""
    tracing_endpoint: str = ""
    """URL of the collector of this session's spans, or `off`; empty leaves it to OpenTelemetry's environment."""
    program: str = "portico-python"
    """Shown to the edge's operator: who speaks here, with `version` of Portico."""


class AgentTls(Value, frozen=True):
    """TLS that ends at the agent: the edge sees only what passes through it."""

    key_pair: KeyPair
    client_authorities: str | None = None
    """PEM of the CAs that visitors' certificates must come from; None means no visitor is asked for one."""
