"""Checked options become what the agent works with: how to reach the edge, what to bind, how to reach the upstream."""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from portico.agent.bind import BindKind, BindRequest, HttpOptions, SignIn
from portico.agent.edge_address import EdgeAddress
from portico.agent.settings import AgentTls, SessionSettings
from portico.agent.termination import Termination, check_pair, opened_key
from portico.agent.tracing import collector_url
from portico.agent.upstream_tls import UpstreamTls
from portico.model.errors import AUTHTOKEN_MISSING, PorticoError
from portico.model.tls import KeyPair, TlsVersion
from portico.model.weight import MAX_WEIGHT
from portico.sdk.options import invalid

Options = Mapping[str, Any]


def session_settings(options: Options, default_authtoken: str | None) -> SessionSettings:
    """How to reach the edge, from options, then from the environment.

    Raises PorticoError(AUTHTOKEN_MISSING), PorticoError(OPTION_INVALID).
    """
    url = options.get("connect_url") or options.get("server_addr") or os.environ.get("PORTICO_CONNECT_URL")
    if not url:
        raise invalid("connect_url", "it is missing; give the edge's host:port, or set PORTICO_CONNECT_URL")
    cas = options.get("connect_cas") or options.get("root_cas") or os.environ.get("PORTICO_CONNECT_CAS", "")
    return SessionSettings(
        edge=EdgeAddress.parse(url),
        authtoken=_authtoken(options, default_authtoken),
        connect_cas=cas,
        edge_ca_pem=pem_text("session_ca_cert", options.get("session_ca_cert")),
        metadata=options.get("session_metadata", ""),
        proxy_url=options.get("proxy_url", ""),
        tracing_endpoint=collector_url(options.get("tracing_endpoint", "")),
    )


def _authtoken(options: Options, default: str | None) -> str:
    token = options.get("authtoken")
    environment = os.environ.get("PORTICO_AUTHTOKEN") or os.environ.get("NGROK_AUTHTOKEN")
    if options.get("authtoken_from_env"):
        token = environment
    token = token or default or environment
    if not token:
        raise PorticoError(
            AUTHTOKEN_MISSING,
            "no authtoken was given",
            fix="Pass authtoken=…, call portico.set_auth_token, or set PORTICO_AUTHTOKEN.",
        )
    return str(token)


def terminated(options: Options, proto: str, forwards_to: str) -> tuple[AgentTls | None, BindRequest]:
    """TLS that ends in this process (`terminate_at="agent"`), if it does, and what to ask the edge for.

    Raises PorticoError(OPTION_INVALID, CERTIFICATE_INVALID).
    """
    bind = _bind_request(options, proto, forwards_to)
    host = urlsplit(bind.url if "://" in bind.url else f"//{bind.url}").hostname
    return _termination(options).apply(bind, host or "")


def _bind_request(options: Options, proto: str, forwards_to: str) -> BindRequest:
    kind = _kind(options, proto)
    return BindRequest(
        kind=kind,
        url=_url(options, kind),
        subdomain=options.get("subdomain", ""),
        remote_address=options.get("remote_addr", ""),
        name=options.get("name", ""),
        description=options.get("description", ""),
        metadata=options.get("metadata", ""),
        forwards_to=options.get("forwards_to") or forwards_to,
        app_protocol=options.get("app_protocol", ""),
        bindings=_strings(options, "binding"),
        pooling=options.get("pooling_enabled", False),
        pool_weight=_weight(options),
        proxy_protocol=int(options.get("proxy_proto") or 0),
        traffic_policy=_policy(options),
        allow_cidrs=_strings(options, "allow_cidr"),
        deny_cidrs=_strings(options, "deny_cidr"),
        http=_http_options(options),
        labels=_labels(options),
    )


def _weight(options: Options) -> int:
    weight = int(options.get("pool_weight", 1))
    if not 1 <= weight <= MAX_WEIGHT:
        raise invalid("pool_weight", f"1 to {MAX_WEIGHT} is expected")
    return weight


def upstream_tls(options: Options) -> UpstreamTls:
    """How to speak TLS to the upstream. Raises PorticoError(OPTION_INVALID, CERTIFICATE_INVALID)."""
    return UpstreamTls(
        verify=options.get("verify_upstream_tls", True),
        authorities=pem_text("upstream_tls_verify_cas", options.get("upstream_tls_verify_cas")) or None,
        server_name=options.get("upstream_tls_server_name"),
        minimum=TlsVersion(options.get("upstream_tls_min_version", TlsVersion.TLS_1_2)),
        key_pair=_client_pair(options),
    )


def _client_pair(options: Options) -> KeyPair | None:
    crt, key = _pair(options, "upstream_client_crt", "upstream_client_key", "upstream_client_key_passphrase")
    if not crt:
        return None
    pair = KeyPair(crt, key)
    check_pair(pair, "upstream_client_crt and upstream_client_key")
    return pair


def _pair(options: Options, crt_name: str, key_name: str, passphrase_name: str) -> tuple[str, str]:
    """Certificate and key, both empty where none is given."""
    crt, key = (pem_text(name, options.get(name)) for name in (crt_name, key_name))
    if crt and not key:
        raise invalid(key_name, "the certificate is given without its key")
    if key and not crt:
        raise invalid(crt_name, "the key is given without its certificate")
    return crt, opened_key(key, options.get(passphrase_name), key_name)


def pem_text(name: str, value: object) -> str:
    """PEM from text, bytes, or a list of them. Raises PorticoError(OPTION_INVALID)."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(pem_text(name, item) for item in value)
    try:
        return value if isinstance(value, str) else bytes(value).decode("ascii")  # type: ignore[call-overload]
    except UnicodeDecodeError:
        raise invalid(name, "it is not PEM") from None


def _kind(options: Options, proto: str) -> BindKind:
    if proto != "http":
        return BindKind(proto)
    schemes = [scheme.lower() for scheme in _strings(options, "schemes")]
    if wrong := [scheme for scheme in schemes if scheme not in ("http", "https")]:
        raise invalid("schemes", f"{wrong[0]!r} is neither http nor https")
    if options.get("url", "").lower().startswith("http://"):
        return BindKind.HTTP
    # The last one wins in ngrok's SDKs.
    return BindKind(schemes[-1]) if schemes else BindKind.HTTPS


def _url(options: Options, kind: BindKind) -> str:
    given = [name for name in ("url", "domain", "hostname", "subdomain", "remote_addr") if options.get(name)]
    if len(given) > 1:
        raise invalid(given[1], f"it says what {given[0]} says already; give one of them")
    domain = options.get("domain") or options.get("hostname")
    if domain:
        return domain if "://" in domain else f"{kind}://{domain}"
    return str(options.get("url", ""))


def _termination(options: Options) -> Termination:
    crt, key = _pair(options, "crt", "key", "key_passphrase")
    return Termination(
        at=options.get("terminate_at"),
        certificate=crt,
        key=key,
        authorities=pem_text("mutual_tls_cas", options.get("mutual_tls_cas")),
        any_domain=options.get("crt_any_domain", False),
        automatic="crt" in options,  # ngrok's SDK takes an empty pair for "at the edge, an automatic certificate"
    )


def _strings(options: Options, name: str) -> tuple[str, ...]:
    value = options.get(name)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _pairs(options: Options, name: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in _strings(options, name):
        first, colon, second = text.partition(":")
        if not colon or not first:
            # The text may be a password; it does not belong into an error.
            raise invalid(name, "a colon is expected between its two parts")
        pairs.append((first, second))
    return tuple(pairs)


def _labels(options: Options) -> dict[str, str]:
    labels = options.get("labels")
    return dict(labels) if isinstance(labels, Mapping) else dict(_pairs(options, "labels"))


def _policy(options: Options) -> str:
    if options.get("policy") and options.get("traffic_policy"):
        raise invalid("policy", "it is the old name of traffic_policy; give one of them")
    policy = options.get("traffic_policy") or options.get("policy") or ""
    return policy if isinstance(policy, str) else json.dumps(policy)


def _http_options(options: Options) -> HttpOptions:
    if ("verify_webhook_provider" in options) != ("verify_webhook_secret" in options):
        raise invalid("verify_webhook_secret", "provider and secret belong together")
    breaker = float(options.get("circuit_breaker", 0))
    if not 0 <= breaker <= 1:
        raise invalid("circuit_breaker", "a share between 0 and 1 is expected")
    return HttpOptions(
        basic_auth=_pairs(options, "basic_auth"),
        circuit_breaker=breaker,
        compression=options.get("compression", False),
        oauth=_sign_in(options, "oauth", "oauth_provider"),
        oidc=_sign_in(options, "oidc", "oidc_issuer_url", ("oidc_client_id", "oidc_client_secret")),
        webhook_provider=options.get("verify_webhook_provider", ""),
        webhook_secret=options.get("verify_webhook_secret", ""),
        request_header_add=_pairs(options, "request_header_add"),
        request_header_remove=_strings(options, "request_header_remove"),
        response_header_add=_pairs(options, "response_header_add"),
        response_header_remove=_strings(options, "response_header_remove"),
        allow_user_agents=_strings(options, "allow_user_agent"),
        deny_user_agents=_strings(options, "deny_user_agent"),
        websocket_tcp_converter=options.get("websocket_tcp_converter", False),
    )


def _sign_in(options: Options, prefix: str, switch: str, needed: tuple[str, ...] = ()) -> SignIn | None:
    given = [name for name in options if name.startswith(f"{prefix}_")]
    if not given:
        return None
    for name in (switch, *needed):
        if not options.get(name):
            raise invalid(name, f"{given[0]} needs it")
    return SignIn(
        provider=options.get(f"{prefix}_provider", ""),
        issuer_url=options.get(f"{prefix}_issuer_url", ""),
        client_id=options.get(f"{prefix}_client_id", ""),
        client_secret=options.get(f"{prefix}_client_secret", ""),
        allow_emails=_strings(options, f"{prefix}_allow_emails"),
        allow_domains=_strings(options, f"{prefix}_allow_domains"),
        scopes=_strings(options, f"{prefix}_scopes"),
    )
