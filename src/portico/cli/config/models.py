"""What a configuration file may say: the agent's own keys, `tunnels:` (version 2, tolerated in 3), `endpoints:` (3).

The names are ngrok's, so that a file written for its agent is understood here. A tunnel's keys are at the same time the
flags of `portico http|tls|tcp`: a flag is written with hyphens, the key with underscores.
"""

from collections.abc import Iterator

from portico.cli.config.fields import (
    CREDENTIALS,
    DURATION,
    HEADERS,
    HTTP_VERSION,
    MAPPING,
    METADATA,
    NETWORKS,
    PROXY_VERSION,
    SECRET,
    SWITCH,
    TEXT,
    TEXTS,
    TLS_MINIMUM,
    Either,
    Many,
    Named,
    Part,
    Secret,
    one_of,
    share,
    text,
    whole_number,
)
from portico.cli.config.section import Section, field
from portico.logs import LogFormat
from portico.model.weight import MAX_WEIGHT

Texts = tuple[str, ...]


def _switch(value: object) -> object:
    """Text of a key that takes `false` or `true` beside its own words."""
    return str(value).lower() if isinstance(value, bool) else value


def _off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


_NAME = text(at_least=1)
_DESCRIPTION = text(at_most=255)
_SWITCH_OR_TEXT = text(convert=_switch)
_WEIGHT = whole_number(1, MAX_WEIGHT)
_BINDINGS = Many(one_of("public", "internal", "kubernetes"), at_most=1, alone=False)


class AgentKeys(Section):
    """The agent itself: how it signs in, what it shows and logs."""

    authtoken: Secret | None = field(SECRET, "Lets this agent connect to the edge.", default=None)
    api_key: Secret | None = field(SECRET, "Lets `portico` programs call the edge's API.", default=None)
    connect_url: str | None = field(TEXT, "Address of the edge, `host:port` (version 2: `server_addr`).", default=None)
    connect_cas: str | None = field(
        TEXT,
        "Who may sign the edge's certificate: `host`, `trusted` or a PEM file (version 2: `root_cas`).",
        default=None,
    )
    connect_interface: str | None = field(TEXT, "Network interface to dial from.", default=None)
    connect_timeout: float = field(DURATION, "Time to wait for a connection to the edge.", default=10.0)
    console_ui: str = field(
        one_of("true", "false", "iftty", convert=_switch), "Whether the status screen is shown.", default="iftty"
    )
    console_ui_color: str = field(
        one_of("transparent", "black"), "Background of the status screen.", default="transparent"
    )
    crl_noverify: bool = field(SWITCH, "Accepted; revocation lists are not consulted.", default=False)
    crl_url: str | None = field(TEXT, "Accepted; revocation lists are not consulted.", default=None)
    dns_resolver_ips: Texts = field(TEXTS, "Name servers for the edge's name.", default=())
    heartbeat_interval: float = field(DURATION, "Time between two heartbeats.", default=10.0)
    heartbeat_tolerance: float = field(DURATION, "Silence after which the session is dialled again.", default=15.0)
    inspect_db_size: int = field(
        whole_number(-1), "Bytes to keep of inspected requests; 0 for 50 MB, -1 to keep none.", default=0
    )
    log: str | None = field(_SWITCH_OR_TEXT, "Where to log: `stdout`, `stderr`, `false` or a file.", default=None)
    log_format: LogFormat = field(one_of("term", "logfmt", "json"), "How log lines look.", default="term")
    log_level: str = field(one_of("debug", "info", "warn", "error", "crit"), "The least to log.", default="info")
    metadata: str = field(METADATA, "Your own text about this agent, shown by the edge.", default="")
    proxy_url: str | None = field(TEXT, "HTTP or SOCKS5 proxy on the way to the edge.", default=None)
    region: str | None = field(TEXT, "Accepted; an edge is named by its address.", default=None)
    remote_management: bool = field(SWITCH, "Whether the edge may stop or restart this agent.", default=True)
    tracing_endpoint: str = field(
        text(convert=_off),
        "OpenTelemetry collector of this agent's spans, `http(s)://HOST:4318`, or `off`;"
        " else `OTEL_EXPORTER_OTLP_ENDPOINT` counts.",
        default="",
    )
    update_channel: str = field(
        one_of("stable", "beta", "unstable"), "Accepted; updates come from the package index.", default="stable"
    )
    update_check: bool = field(SWITCH, "Accepted; updates come from the package index.", default=True)
    web_addr: str = field(
        _SWITCH_OR_TEXT, "Address of the local web interface; `false` for none.", default="127.0.0.1:4040"
    )
    web_allow_hosts: Texts = field(
        TEXTS, "Host names that the local web interface answers to beside localhost.", default=()
    )


class Networked(Section):
    """Who may connect, by address."""

    allow_cidrs: Texts = field(NETWORKS, "Only these networks may connect.", default=())
    deny_cidrs: Texts = field(NETWORKS, "These networks may not connect.", default=())


class OAuth(Section):
    """Sign-in with an OAuth provider before a request passes."""

    provider: str = field(TEXT, "For example `google`.")
    client_id: str = field(TEXT, "The provider's id of your application.", default="")
    client_secret: Secret = field(SECRET, "The provider's secret of your application.", default=Secret(""))
    allow_domains: Texts = field(TEXTS, "Mail domains to let in.", default=())
    allow_emails: Texts = field(TEXTS, "Mail addresses to let in.", default=())
    scopes: Texts = field(TEXTS, "Scopes to ask for.", default=())


class Oidc(Section):
    """Sign-in with an OpenID Connect issuer before a request passes."""

    issuer_url: str = field(TEXT, "Address of the issuer.")
    client_id: str = field(TEXT, "The issuer's id of your application.", default="")
    client_secret: Secret = field(SECRET, "The issuer's secret of your application.", default=Secret(""))
    allow_domains: Texts = field(TEXTS, "Mail domains to let in.", default=())
    allow_emails: Texts = field(TEXTS, "Mail addresses to let in.", default=())
    scopes: Texts = field(TEXTS, "Scopes to ask for.", default=())


class HeaderChange(Section):
    """Headers to add and to take away."""

    add: Texts = field(HEADERS, "`name:value` to add.", default=())
    remove: Texts = field(TEXTS, "Names to take away.", default=())


class UserAgents(Section):
    """Who may send requests, by User-Agent."""

    allow: Texts = field(TEXTS, "Regular expressions (RE2) of agents to let in.", default=())
    deny: Texts = field(TEXTS, "Regular expressions (RE2) of agents to refuse.", default=())


class Webhook(Section):
    """Let only webhooks pass that their sender signed."""

    provider: str = field(TEXT, "For example `slack`.")
    secret: Secret = field(SECRET, "What the provider signs with.", default=Secret(""))


class Tunnel(Section):
    """An entry of `tunnels:`, and what the flags of `portico http|tls|tcp` say."""

    name: str = field(TEXT, "Name of the endpoint at the edge.", default="")
    addr: str | None = field(TEXT, "The upstream: port, host:port, URL, unix:/path or file:///directory.", default=None)
    proto: str | None = field(one_of("http", "tls", "tcp"), "Kind of endpoint.", default=None)
    labels: Texts | dict[str, str] = field(
        Either(Named(TEXT), TEXTS), "`key=value` of a labelled tunnel, instead of `proto`.", default=()
    )
    url: str | None = field(TEXT, "The public URL; its host or all of it may be left out.", default=None)
    domain: str | None = field(TEXT, "The public host name.", default=None)
    hostname: str | None = field(TEXT, "The public host name.", default=None)
    subdomain: str | None = field(TEXT, "The public name below the edge's domain.", default=None)
    schemes: Texts = field(Many(one_of("http", "https"), alone=False), "http, https or both.", default=())
    remote_addr: str | None = field(TEXT, "The public `host:port` of a tcp endpoint.", default=None)
    description: str = field(_DESCRIPTION, "Your own words about the endpoint.", default="")
    metadata: str = field(METADATA, "Your own text about the endpoint, shown by the edge.", default="")
    bindings: Texts = field(_BINDINGS, "Who can reach the endpoint.", default=())
    pooling_enabled: bool = field(SWITCH, "Whether other agents may share the URL.", default=False)
    pool_weight: int = field(_WEIGHT, "Share of the pool's load beside the other agents'.", default=1)
    inspect: bool = field(SWITCH, "Whether the local web interface keeps requests.", default=True)
    traffic_policy: dict[str, object] | None = field(MAPPING, "The traffic policy.", default=None)
    policy: dict[str, object] | None = field(MAPPING, "Former name of `traffic_policy`.", default=None)
    traffic_policy_file: str | None = field(TEXT, "File with the traffic policy, YAML or JSON.", default=None)
    traffic_policy_url: str | None = field(TEXT, "Address to fetch the traffic policy from.", default=None)
    upstream_protocol: str | None = field(HTTP_VERSION, "HTTP version of the upstream.", default=None)
    upstream_proxy_protocol: str = field(PROXY_VERSION, "Version of the PROXY protocol to the upstream.", default="")
    proxy_proto: str = field(PROXY_VERSION, "Former name of `upstream_proxy_protocol`.", default="")
    upstream_tls_verify: bool = field(SWITCH, "Whether the upstream's certificate is verified.", default=False)
    upstream_tls_verify_cas: str | None = field(
        TEXT, "PEM file of who may sign the upstream's certificate.", default=None
    )
    upstream_tls_server_name: str | None = field(
        TEXT, "Name to ask the upstream for by TLS (SNI) and to find in its certificate.", default=None
    )
    upstream_tls_min_version: str = field(TLS_MINIMUM, "Oldest TLS to speak with the upstream.", default="1.2")
    upstream_client_crt: str | None = field(
        TEXT, "PEM file of the certificate to show to an upstream that demands one.", default=None
    )
    upstream_client_key: str | None = field(TEXT, "PEM file of its private key.", default=None)
    upstream_client_key_passphrase_file: str | None = field(
        TEXT, "File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE.", default=None
    )
    host_header: str | None = field(
        TEXT, "Host header for the upstream; `rewrite` for the upstream's own.", default=None
    )
    basic_auth: tuple[Secret, ...] = field(CREDENTIALS, "`user:password` to ask visitors for.", default=())
    circuit_breaker: float | None = field(
        share(), "Share of 5xx answers above which requests are refused.", default=None
    )
    compression: bool = field(SWITCH, "Whether answers are compressed.", default=False)
    ip_restriction: Networked | None = field(Part(Networked), "Who may connect, by address.", default=None)
    mutual_tls_cas: Texts = field(TEXTS, "PEM files of who may sign visitors' certificates.", default=())
    oauth: OAuth | None = field(Part(OAuth), "Sign-in with an OAuth provider.", default=None)
    oidc: Oidc | None = field(Part(Oidc), "Sign-in with an OpenID Connect issuer.", default=None)
    request_header: HeaderChange | None = field(Part(HeaderChange), "Changes to requests' headers.", default=None)
    response_header: HeaderChange | None = field(Part(HeaderChange), "Changes to answers' headers.", default=None)
    user_agent_filter: UserAgents | None = field(
        Part(UserAgents), "Who may send requests, by User-Agent.", default=None
    )
    verify_webhook: Webhook | None = field(Part(Webhook), "Let only signed webhooks pass.", default=None)
    websocket_tcp_converter: bool = field(
        SWITCH, "Whether WebSocket messages become a plain byte stream.", default=False
    )
    terminate_at: str | None = field(
        one_of("edge", "agent", "upstream"),
        "Where a visitor's TLS ends: `edge` if `crt` and `key` are given, else `upstream`.",
        default=None,
    )
    crt: str | None = field(TEXT, "PEM file of the certificate for TLS that ends before the upstream.", default=None)
    key: str | None = field(TEXT, "PEM file of its private key.", default=None)
    key_passphrase_file: str | None = field(
        TEXT, "File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE.", default=None
    )
    crt_any_domain: bool = field(
        SWITCH, "Whether TLS may end at the agent under a certificate that does not cover the domain.", default=False
    )


class UpstreamKeys(Section):
    """Where an endpoint's traffic ends."""

    url: str = field(TEXT, "Port, host:port, URL, unix:/path or file:///directory.")
    protocol: str | None = field(HTTP_VERSION, "HTTP version of the upstream.", default=None)
    proxy_protocol: str = field(PROXY_VERSION, "Version of the PROXY protocol to the upstream.", default="")
    tls_verify: bool = field(SWITCH, "Whether the upstream's certificate is verified.", default=False)
    tls_verify_cas: str | None = field(TEXT, "PEM file of who may sign the upstream's certificate.", default=None)
    tls_server_name: str | None = field(
        TEXT, "Name to ask the upstream for by TLS (SNI) and to find in its certificate.", default=None
    )
    tls_min_version: str = field(TLS_MINIMUM, "Oldest TLS to speak with the upstream.", default="1.2")
    client_certificate: str | None = field(
        TEXT, "Certificate to show to an upstream that demands one: a PEM file, or PEM.", default=None
    )
    client_private_key: str | None = field(TEXT, "Its private key: a PEM file, or PEM.", default=None)
    client_private_key_passphrase_file: str | None = field(
        TEXT, "File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE.", default=None
    )


class AgentTls(Section):
    """TLS that ends at the agent: the edge never sees the plain text."""

    server_certificate: str | None = field(TEXT, "Certificate: a PEM file, or PEM.", default=None)
    server_private_key: str | None = field(TEXT, "Its private key: a PEM file, or PEM.", default=None)
    server_private_key_passphrase_file: str | None = field(
        TEXT, "File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE.", default=None
    )
    any_domain: bool = field(
        SWITCH, "Whether the certificate may be one that does not cover the domain.", default=False
    )
    mutual_tls_certificate_authorities: Texts = field(
        TEXTS, "Who may sign visitors' certificates: PEM files, or PEM.", default=()
    )


class EndpointKeys(Section):
    """An entry of `endpoints:`."""

    name: str = field(_NAME, "What `portico start` knows it by.")
    url: str | None = field(TEXT, "The public URL; its host or all of it may be left out.", default=None)
    bindings: Texts = field(_BINDINGS, "Who can reach the endpoint.", default=())
    description: str = field(_DESCRIPTION, "Your own words about the endpoint.", default="")
    metadata: str = field(METADATA, "Your own text about the endpoint, shown by the edge.", default="")
    pooling_enabled: bool = field(SWITCH, "Whether other agents may share the URL.", default=False)
    pool_weight: int = field(_WEIGHT, "Share of the pool's load beside the other agents'.", default=1)
    inspect: bool = field(SWITCH, "Whether the local web interface keeps requests.", default=True)
    traffic_policy: dict[str, object] | None = field(MAPPING, "The traffic policy.", default=None)
    traffic_policy_file: str | None = field(TEXT, "File with the traffic policy, YAML or JSON.", default=None)
    upstream: UpstreamKeys = field(Part(UpstreamKeys), "Where the traffic ends.")
    agent_tls_termination: AgentTls | None = field(
        Part(AgentTls), "TLS that ends at the agent (tls URLs only).", default=None
    )


class Document(Section):
    """A whole file in the form of version 3; a file of version 2 is read into the same form."""

    version: str = field(one_of("2", "3"), default="3")
    agent: AgentKeys = field(Part(AgentKeys), default=AgentKeys())
    endpoints: tuple[EndpointKeys, ...] = field(Many(Part(EndpointKeys), alone=False), default=())
    tunnels: dict[str, Tunnel] = field(Named(Part(Tunnel)), default={})

    def conflicts(self) -> Iterator[str]:
        """Names that more than one endpoint has."""
        names = [endpoint.name for endpoint in self.endpoints] + list(self.tunnels)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield f"more than one endpoint is named {', '.join(twice)}"
