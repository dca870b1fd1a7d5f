"""What a configuration file may say: the agent's own keys, `tunnels:` (version 2, tolerated in 3), `endpoints:` (3).

The names are ngrok's, so that a file written for its agent is understood here. A tunnel's keys are at the same time the
flags of `portico http|tls|tcp`: a flag is written with hyphens, the key with underscores.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from portico.cli.config.fields import (
    Credentials,
    Duration,
    Flag,
    Headers,
    HttpVersion,
    Metadata,
    Networks,
    ProxyVersion,
    Section,
    Texts,
    TlsMinimum,
)
from portico.model.weight import MAX_WEIGHT


def _switch(value: object) -> object:
    """Text of a key that takes `false` or `true` beside its own words."""
    return str(value).lower() if isinstance(value, bool) else value


def _off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class AgentKeys(Section):
    """The agent itself: how it signs in, what it shows and logs."""

    authtoken: SecretStr | None = Field(default=None, description="Lets this agent connect to the edge.")
    api_key: SecretStr | None = Field(default=None, description="Lets `portico` programs call the edge's API.")
    connect_url: str | None = Field(
        default=None, description="Address of the edge, `host:port` (version 2: `server_addr`)."
    )
    connect_cas: str | None = Field(
        default=None,
        description="Who may sign the edge's certificate: `host`, `trusted` or a PEM file (version 2: `root_cas`).",
    )
    connect_interface: str | None = Field(default=None, description="Network interface to dial from.")
    connect_timeout: Duration = Field(default=10.0, description="Time to wait for a connection to the edge.")
    console_ui: Annotated[Literal["true", "false", "iftty"], BeforeValidator(_switch)] = Field(
        default="iftty", description="Whether the status screen is shown."
    )
    console_ui_color: Literal["transparent", "black"] = Field(
        default="transparent", description="Background of the status screen."
    )
    crl_noverify: Flag = Field(default=False, description="Accepted; revocation lists are not consulted.")
    crl_url: str | None = Field(default=None, description="Accepted; revocation lists are not consulted.")
    dns_resolver_ips: Texts = Field(default=(), description="Name servers for the edge's name.")
    heartbeat_interval: Duration = Field(default=10.0, description="Time between two heartbeats.")
    heartbeat_tolerance: Duration = Field(default=15.0, description="Silence after which the session is dialled again.")
    inspect_db_size: Annotated[int, Field(ge=-1)] = Field(
        default=0, description="Bytes to keep of inspected requests; 0 for 50 MB, -1 to keep none."
    )
    log: Annotated[str, BeforeValidator(_switch)] | None = Field(
        default=None, description="Where to log: `stdout`, `stderr`, `false` or a file."
    )
    log_format: Literal["term", "logfmt", "json"] = Field(default="term", description="How log lines look.")
    log_level: Literal["debug", "info", "warn", "error", "crit"] = Field(
        default="info", description="The least to log."
    )
    metadata: Metadata = Field(default="", description="Your own text about this agent, shown by the edge.")
    proxy_url: str | None = Field(default=None, description="HTTP or SOCKS5 proxy on the way to the edge.")
    region: str | None = Field(default=None, description="Accepted; an edge is named by its address.")
    remote_management: Flag = Field(default=True, description="Whether the edge may stop or restart this agent.")
    tracing_endpoint: Annotated[str, BeforeValidator(_off)] = Field(
        default="",
        description="OpenTelemetry collector of this agent's spans, `http(s)://HOST:4318`, or `off`;"
        " else `OTEL_EXPORTER_OTLP_ENDPOINT` counts.",
    )
    update_channel: Literal["stable", "beta", "unstable"] = Field(
        default="stable", description="Accepted; updates come from the package index."
    )
    update_check: Flag = Field(default=True, description="Accepted; updates come from the package index.")
    web_addr: Annotated[str, BeforeValidator(_switch)] = Field(
        default="127.0.0.1:4040", description="Address of the local web interface; `false` for none."
    )
    web_allow_hosts: Texts = Field(
        default=(), description="Host names that the local web interface answers to beside localhost."
    )


class Networked(Section):
    """Who may connect, by address."""

    allow_cidrs: Networks = Field(default=(), description="Only these networks may connect.")
    deny_cidrs: Networks = Field(default=(), description="These networks may not connect.")


class OAuth(Section):
    """Sign-in with an OAuth provider before a request passes."""

    provider: str = Field(description="For example `google`.")
    client_id: str = Field(default="", description="The provider's id of your application.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="The provider's secret of your application.")
    allow_domains: Texts = Field(default=(), description="Mail domains to let in.")
    allow_emails: Texts = Field(default=(), description="Mail addresses to let in.")
    scopes: Texts = Field(default=(), description="Scopes to ask for.")


class Oidc(Section):
    """Sign-in with an OpenID Connect issuer before a request passes."""

    issuer_url: str = Field(description="Address of the issuer.")
    client_id: str = Field(default="", description="The issuer's id of your application.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="The issuer's secret of your application.")
    allow_domains: Texts = Field(default=(), description="Mail domains to let in.")
    allow_emails: Texts = Field(default=(), description="Mail addresses to let in.")
    scopes: Texts = Field(default=(), description="Scopes to ask for.")


class HeaderChange(Section):
    """Headers to add and to take away."""

    add: Headers = Field(default=(), description="`name:value` to add.")
    remove: Texts = Field(default=(), description="Names to take away.")


class UserAgents(Section):
    """Who may send requests, by User-Agent."""

    allow: Texts = Field(default=(), description="Regular expressions (RE2) of agents to let in.")
    deny: Texts = Field(default=(), description="Regular expressions (RE2) of agents to refuse.")


class Webhook(Section):
    """Let only webhooks pass that their sender signed."""

    provider: str = Field(description="For example `slack`.")
    secret: SecretStr = Field(default=SecretStr(""), description="What the provider signs with.")


class Tunnel(Section):
    """An entry of `tunnels:`, and what the flags of `portico http|tls|tcp` say."""

    name: str = Field(default="", description="Name of the endpoint at the edge.")
    addr: str | None = Field(
        default=None, description="The upstream: port, host:port, URL, unix:/path or file:///directory."
    )
    proto: Literal["http", "tls", "tcp"] | None = Field(default=None, description="Kind of endpoint.")
    labels: Texts | dict[str, str] = Field(
        default=(), description="`key=value` of a labelled tunnel, instead of `proto`."
    )
    url: str | None = Field(default=None, description="The public URL; its host or all of it may be left out.")
    domain: str | None = Field(default=None, description="The public host name.")
    hostname: str | None = Field(default=None, description="The public host name.")
    subdomain: str | None = Field(default=None, description="The public name below the edge's domain.")
    schemes: tuple[Literal["http", "https"], ...] = Field(default=(), description="http, https or both.")
    remote_addr: str | None = Field(default=None, description="The public `host:port` of a tcp endpoint.")
    description: str = Field(default="", max_length=255, description="Your own words about the endpoint.")
    metadata: Metadata = Field(default="", description="Your own text about the endpoint, shown by the edge.")
    bindings: tuple[Literal["public", "internal", "kubernetes"], ...] = Field(
        default=(), max_length=1, description="Who can reach the endpoint."
    )
    pooling_enabled: Flag = Field(default=False, description="Whether other agents may share the URL.")
    pool_weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = Field(
        default=1, description="Share of the pool's load beside the other agents'."
    )
    inspect: Flag = Field(default=True, description="Whether the local web interface keeps requests.")
    traffic_policy: dict[str, object] | None = Field(default=None, description="The traffic policy.")
    policy: dict[str, object] | None = Field(default=None, description="Former name of `traffic_policy`.")
    traffic_policy_file: str | None = Field(default=None, description="File with the traffic policy, YAML or JSON.")
    traffic_policy_url: str | None = Field(default=None, description="Address to fetch the traffic policy from.")
    upstream_protocol: HttpVersion | None = Field(default=None, description="HTTP version of the upstream.")
    upstream_proxy_protocol: ProxyVersion = Field(
        default="", description="Version of the PROXY protocol to the upstream."
    )
    proxy_proto: ProxyVersion = Field(default="", description="Former name of `upstream_proxy_protocol`.")
    upstream_tls_verify: Flag = Field(default=False, description="Whether the upstream's certificate is verified.")
    upstream_tls_verify_cas: str | None = Field(
        default=None, description="PEM file of who may sign the upstream's certificate."
    )
    upstream_tls_server_name: str | None = Field(
        default=None, description="Name to ask the upstream for by TLS (SNI) and to find in its certificate."
    )
    upstream_tls_min_version: TlsMinimum = Field(default="1.2", description="Oldest TLS to speak with the upstream.")
    upstream_client_crt: str | None = Field(
        default=None, description="PEM file of the certificate to show to an upstream that demands one."
    )
    upstream_client_key: str | None = Field(default=None, description="PEM file of its private key.")
    upstream_client_key_passphrase_file: str | None = Field(
        default=None, description="File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE."
    )
    host_header: str | None = Field(
        default=None, description="Host header for the upstream; `rewrite` for the upstream's own."
    )
    basic_auth: Credentials = Field(default=(), description="`user:password` to ask visitors for.")
    circuit_breaker: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Share of 5xx answers above which requests are refused."
    )
    compression: Flag = Field(default=False, description="Whether answers are compressed.")
    ip_restriction: Networked | None = Field(default=None, description="Who may connect, by address.")
    mutual_tls_cas: Texts = Field(default=(), description="PEM files of who may sign visitors' certificates.")
    oauth: OAuth | None = Field(default=None, description="Sign-in with an OAuth provider.")
    oidc: Oidc | None = Field(default=None, description="Sign-in with an OpenID Connect issuer.")
    request_header: HeaderChange | None = Field(default=None, description="Changes to requests' headers.")
    response_header: HeaderChange | None = Field(default=None, description="Changes to answers' headers.")
    user_agent_filter: UserAgents | None = Field(default=None, description="Who may send requests, by User-Agent.")
    verify_webhook: Webhook | None = Field(default=None, description="Let only signed webhooks pass.")
    websocket_tcp_converter: Flag = Field(
        default=False, description="Whether WebSocket messages become a plain byte stream."
    )
    terminate_at: Literal["edge", "agent", "upstream"] | None = Field(
        default=None, description="Where a visitor's TLS ends: `edge` if `crt` and `key` are given, else `upstream`."
    )
    crt: str | None = Field(
        default=None, description="PEM file of the certificate for TLS that ends before the upstream."
    )
    key: str | None = Field(default=None, description="PEM file of its private key.")
    key_passphrase_file: str | None = Field(
        default=None, description="File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE."
    )
    crt_any_domain: Flag = Field(
        default=False,
        description="Whether TLS may end at the agent under a certificate that does not cover the domain.",
    )


class UpstreamKeys(Section):
    """Where an endpoint's traffic ends."""

    url: str = Field(description="Port, host:port, URL, unix:/path or file:///directory.")
    protocol: HttpVersion | None = Field(default=None, description="HTTP version of the upstream.")
    proxy_protocol: ProxyVersion = Field(default="", description="Version of the PROXY protocol to the upstream.")
    tls_verify: Flag = Field(default=False, description="Whether the upstream's certificate is verified.")
    tls_verify_cas: str | None = Field(default=None, description="PEM file of who may sign the upstream's certificate.")
    tls_server_name: str | None = Field(
        default=None, description="Name to ask the upstream for by TLS (SNI) and to find in its certificate."
    )
    tls_min_version: TlsMinimum = Field(default="1.2", description="Oldest TLS to speak with the upstream.")
    client_certificate: str | None = Field(
        default=None, description="Certificate to show to an upstream that demands one: a PEM file, or PEM."
    )
    client_private_key: str | None = Field(default=None, description="Its private key: a PEM file, or PEM.")
    client_private_key_passphrase_file: str | None = Field(
        default=None, description="File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE."
    )


class AgentTls(Section):
    """TLS that ends at the agent: the edge never sees the plain text."""

    server_certificate: str | None = Field(default=None, description="Certificate: a PEM file, or PEM.")
    server_private_key: str | None = Field(default=None, description="Its private key: a PEM file, or PEM.")
    server_private_key_passphrase_file: str | None = Field(
        default=None, description="File with the passphrase of that key; else PORTICO_KEY_PASSPHRASE."
    )
    any_domain: Flag = Field(
        default=False, description="Whether the certificate may be one that does not cover the domain."
    )
    mutual_tls_certificate_authorities: Texts = Field(
        default=(), description="Who may sign visitors' certificates: PEM files, or PEM."
    )


class EndpointKeys(Section):
    """An entry of `endpoints:`."""

    name: Annotated[str, Field(min_length=1)] = Field(description="What `portico start` knows it by.")
    url: str | None = Field(default=None, description="The public URL; its host or all of it may be left out.")
    bindings: tuple[Literal["public", "internal", "kubernetes"], ...] = Field(
        default=(), max_length=1, description="Who can reach the endpoint."
    )
    description: str = Field(default="", max_length=255, description="Your own words about the endpoint.")
    metadata: Metadata = Field(default="", description="Your own text about the endpoint, shown by the edge.")
    pooling_enabled: Flag = Field(default=False, description="Whether other agents may share the URL.")
    pool_weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = Field(
        default=1, description="Share of the pool's load beside the other agents'."
    )
    inspect: Flag = Field(default=True, description="Whether the local web interface keeps requests.")
    traffic_policy: dict[str, object] | None = Field(default=None, description="The traffic policy.")
    traffic_policy_file: str | None = Field(default=None, description="File with the traffic policy, YAML or JSON.")
    upstream: UpstreamKeys = Field(description="Where the traffic ends.")
    agent_tls_termination: AgentTls | None = Field(
        default=None, description="TLS that ends at the agent (tls URLs only)."
    )


class Document(Section):
    """A whole file in the form of version 3; a file of version 2 is read into the same form."""

    version: Literal["2", "3"] = "3"
    agent: AgentKeys = AgentKeys()
    endpoints: tuple[EndpointKeys, ...] = ()
    tunnels: dict[str, Tunnel] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Document":
        names = [endpoint.name for endpoint in self.endpoints] + list(self.tunnels)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one endpoint is named {', '.join(twice)}")
        return self
