"""What an agent asks an edge for: one endpoint with its options, and the Bind that says so on the wire.

Outer keys are ngrok's (`Opts`, PascalCase; null is off), inner keys snake_case, empty inner fields are left out. The
edge enforces all of these options; the agent only sends them.
"""

import base64
import os
import socket
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from portico.model.tls import KeyPair
from portico.model.value import Value

Json = dict[str, Any]


class BindKind(StrEnum):
    """What visitors speak, or labels that name an endpoint of the edge's configuration."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    TLS = "tls"
    LABELED = "labeled"

    @property
    def is_http(self) -> bool:
        """Whether Envoy speaks HTTP on its streams."""
        return self in (BindKind.HTTP, BindKind.HTTPS)


class SignIn(Value, frozen=True):
    """OAuth (`provider`) or OpenID Connect (`issuer_url`) before a visitor may pass."""

    hidden = ("client_secret",)
    provider: str = ""
    issuer_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    allow_emails: tuple[str, ...] = ()
    allow_domains: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def wire(self) -> Json:
        """As it stands in `Opts.OAuth` and `Opts.OIDC`."""
        return _filled(
            provider=self.provider,
            issuer_url=self.issuer_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            allow_emails=list(self.allow_emails),
            allow_domains=list(self.allow_domains),
            scopes=list(self.scopes),
        )


class HttpOptions(Value, frozen=True, kw_only=True):
    """Options that only http and https endpoints have."""

    hidden = ("basic_auth", "webhook_secret")
    basic_auth: tuple[tuple[str, str], ...] = ()
    """User names with their passwords."""
    circuit_breaker: float = 0.0
    """Share of 5xx responses above which requests are refused; 0 is off."""
    compression: bool = False
    oauth: SignIn | None = None
    oidc: SignIn | None = None
    webhook_provider: str = ""
    webhook_secret: str = ""
    request_header_add: tuple[tuple[str, str], ...] = ()
    request_header_remove: tuple[str, ...] = ()
    response_header_add: tuple[tuple[str, str], ...] = ()
    response_header_remove: tuple[str, ...] = ()
    allow_user_agents: tuple[str, ...] = ()
    deny_user_agents: tuple[str, ...] = ()
    websocket_tcp_converter: bool = False

    def wire(self) -> Json:
        """The keys of `Opts` that these options fill; null is off."""
        webhook = {"provider": self.webhook_provider, "secret": self.webhook_secret}
        users = [{"username": name, "cleartext_password": password} for name, password in self.basic_auth]
        return {
            "Compression": {} if self.compression else None,
            "CircuitBreaker": {"error_threshold": self.circuit_breaker} if self.circuit_breaker else None,
            "BasicAuth": {"credentials": users} if users else None,
            "OAuth": self.oauth.wire() if self.oauth else None,
            "OIDC": self.oidc.wire() if self.oidc else None,
            "WebhookVerification": webhook if self.webhook_provider else None,
            "RequestHeaders": _headers(self.request_header_add, self.request_header_remove),
            "ResponseHeaders": _headers(self.response_header_add, self.response_header_remove),
            "WebsocketTCPConverter": {} if self.websocket_tcp_converter else None,
            "UserAgentFilter": _filled(allow=list(self.allow_user_agents), deny=list(self.deny_user_agents)) or None,
        }


class BindRequest(Value, frozen=True, kw_only=True):
    """One endpoint that a session serves. Everything but `kind` may be left out."""

    kind: BindKind
    url: str = ""
    """`scheme://host[:port]`, or a part of it; empty means a name or port of the edge's choice."""
    subdomain: str = ""
    remote_address: str = ""
    """`host:port` for tcp; a spelling of `url`."""
    name: str = ""
    description: str = ""
    metadata: str = ""
    forwards_to: str = ""
    """Shown to people; empty means this program."""
    app_protocol: str = ""
    """HTTP version that the upstream speaks: `http1` or `http2`; empty is http1."""
    bindings: tuple[str, ...] = ()
    pooling: bool = False
    pool_weight: int = 1
    """Share of the pool's load beside the other members'."""
    proxy_protocol: int = 0
    """PROXY protocol version that the upstream wants: 1, 2, or 0 for none."""
    traffic_policy: str = ""
    """JSON or YAML."""
    allow_cidrs: tuple[str, ...] = ()
    deny_cidrs: tuple[str, ...] = ()
    visitor_authorities: str = ""
    """PEM of the CAs that visitors' certificates must come from, checked at the edge."""
    edge_tls: bool = False
    """tls: whether TLS ends at the edge, under `key_pair` or, without one, an automatic certificate."""
    key_pair: KeyPair | None = None
    http: HttpOptions = HttpOptions()
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    """`labeled` only."""

    @property
    def carries_bytes(self) -> bool:
        """Whether the upstream gets bytes of visitors' WebSockets, though visitors speak HTTP."""
        return self.kind.is_http and self.http.websocket_tcp_converter

    def wire(self, previous_id: str = "", token: str = "", opts: Json | None = None) -> Json:
        """The Bind (or StartTunnelWithLabel) message.

        `previous_id`, `token` and the `opts` that the edge echoed make it a re-bind, which keeps the URL.
        """
        forwards_to = self.forwards_to or this_program()
        if self.kind is BindKind.LABELED:
            return {
                "Labels": dict(self.labels),
                "ForwardsTo": forwards_to,
                "ForwardsProto": self.app_protocol,
                "Metadata": self.metadata,
            }
        return {
            "Id": previous_id,
            "Proto": str(self.kind),
            "ForwardsTo": forwards_to,
            "ForwardsProto": self.app_protocol,
            "Opts": self.opts() if opts is None else opts,
            "Extra": {
                "Name": self.name,
                "Token": token,
                "IPPolicyRef": "",
                "Metadata": self.metadata,
                "Description": self.description,
                "Bindings": list(self.bindings),
                "PoolingEnabled": self.pooling,
                # Portico's own, and said only where it says something.
                **({"PoolWeight": self.pool_weight} if self.pool_weight != 1 else {}),
            },
        }

    def opts(self) -> Json:
        """`Opts` of a first bind."""
        restriction = _filled(allow_cidrs=list(self.allow_cidrs), deny_cidrs=list(self.deny_cidrs)) or None
        common = {
            "URL": self.url,
            "ProxyProto": self.proxy_protocol,
            "IPRestriction": restriction,
            "TrafficPolicy": self.traffic_policy or None,
        }
        if self.kind is BindKind.TCP:
            return {**common, "Addr": self.remote_address}
        named = {**common, "Domain": "", "Hostname": "", "Subdomain": self.subdomain}
        authorities = {"mutual_tls_ca": _base64(self.visitor_authorities)} if self.visitor_authorities else None
        if self.kind is BindKind.TLS:
            return {
                **named,
                "MutualTLSAtAgent": False,
                "MutualTLSAtEdge": authorities,
                "TLSTermination": self._termination(),
            }
        frame = {"Auth": "", "HostHeaderRewrite": False, "LocalURLScheme": "", "MutualTLSCA": authorities}
        return {**named, **frame, **self.http.wire()}

    def _termination(self) -> Json | None:
        if not self.edge_tls:
            return None
        if self.key_pair is None:
            return {}
        return {"cert": _base64(self.key_pair.certificate), "key": _base64(self.key_pair.key)}


def this_program() -> str:
    """How ngrok's SDKs name a program that forwards to itself: `app://host/executable?pid=n`."""
    return f"app://{socket.gethostname()}/{sys.executable}?pid={os.getpid()}"


def _filled(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value}


def _base64(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode("ascii")


def _headers(add: tuple[tuple[str, str], ...], remove: tuple[str, ...]) -> Json | None:
    lines = [f"{name.lower()}:{value}" for name, value in add]
    return _filled(add=lines, remove=[name.lower() for name in remove]) or None
