"""The options of `forward` and `listen`: every name ngrok's Python SDK takes, and Portico's own, declared once.

The annotations serve the type checker and the check at run time; `On(...)` tells which protocols an option is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from portico.model.errors import OPTION_INVALID, PorticoError

Strings = str | Sequence[str]
Pem = str | bytes | bytearray | Sequence[str | bytes | bytearray]


@dataclass(frozen=True, slots=True)
class On:
    """The protocols that an option is for."""

    protocols: tuple[str, ...]


HTTP = On(("http",))
TLS = On(("tls",))
TCP = On(("tcp",))
NAMED = On(("http", "tls"))
ENDPOINT = On(("http", "tcp", "tls"))
LABELED = On(("labeled",))
WITH_PROTOCOL = On(("http", "tls", "labeled"))


class SessionOptions(TypedDict, total=False):
    """How to reach the edge and who is asking."""

    authtoken: str
    authtoken_from_env: bool
    connect_url: str
    """`host:port` of the edge."""
    connect_cas: str
    """`host` (the system's CAs) or a PEM file: what the edge's certificate must be signed by."""
    server_addr: str
    """ngrok's name for `connect_url`."""
    root_cas: str
    """ngrok's name for `connect_cas`."""
    session_ca_cert: Pem
    """PEM of the edge's CA itself."""
    session_metadata: str
    proxy_url: str
    """HTTP or SOCKS5 proxy on the way to the edge."""
    tracing_endpoint: str
    """OpenTelemetry collector, `http(s)://HOST:4318`, or `off`; else OpenTelemetry's environment variables count."""
    force_new_session: bool


class EndpointOptions(TypedDict, total=False):
    """What the endpoint is."""

    url: Annotated[str, ENDPOINT]
    domain: Annotated[str, NAMED]
    hostname: Annotated[str, NAMED]
    subdomain: Annotated[str, NAMED]
    remote_addr: Annotated[str, TCP]
    schemes: Annotated[Strings, HTTP]
    labels: Annotated[Strings | Mapping[str, str], LABELED]
    name: Annotated[str, ENDPOINT]
    description: Annotated[str, ENDPOINT]
    metadata: str
    forwards_to: str
    app_protocol: Annotated[Literal["http1", "http2"], WITH_PROTOCOL]
    proxy_proto: Annotated[Literal["", "1", "2", 0, 1, 2], ENDPOINT]
    verify_upstream_tls: bool
    upstream_tls_verify_cas: Pem
    upstream_tls_server_name: str
    upstream_tls_min_version: Literal["1.2", "1.3"]
    upstream_client_crt: Pem
    upstream_client_key: Pem
    upstream_client_key_passphrase: str
    pooling_enabled: Annotated[bool, ENDPOINT]
    pool_weight: Annotated[int, ENDPOINT]
    """Share of the pool's load beside the other members', 1 to 1,000."""
    binding: Annotated[Strings, ENDPOINT]
    terminate_at: Annotated[Literal["edge", "agent", "upstream"], TLS]
    crt: Annotated[Pem, TLS]
    key: Annotated[Pem, TLS]
    key_passphrase: Annotated[str, TLS]
    crt_any_domain: Annotated[bool, TLS]
    mutual_tls_cas: Annotated[Pem, NAMED]
    traffic_policy: Annotated[str | Mapping[str, Any], ENDPOINT]
    policy: Annotated[str | Mapping[str, Any], ENDPOINT]
    allow_cidr: Annotated[Strings, ENDPOINT]
    deny_cidr: Annotated[Strings, ENDPOINT]
    basic_auth: Annotated[Strings, HTTP]
    circuit_breaker: Annotated[float, HTTP]
    compression: Annotated[bool, HTTP]
    websocket_tcp_converter: Annotated[bool, HTTP]
    request_header_add: Annotated[Strings, HTTP]
    request_header_remove: Annotated[Strings, HTTP]
    response_header_add: Annotated[Strings, HTTP]
    response_header_remove: Annotated[Strings, HTTP]
    allow_user_agent: Annotated[Strings, HTTP]
    deny_user_agent: Annotated[Strings, HTTP]
    verify_webhook_provider: Annotated[str, HTTP]
    verify_webhook_secret: Annotated[str, HTTP]
    oauth_provider: Annotated[str, HTTP]
    oauth_allow_emails: Annotated[Strings, HTTP]
    oauth_allow_domains: Annotated[Strings, HTTP]
    oauth_scopes: Annotated[Strings, HTTP]
    oauth_client_id: Annotated[str, HTTP]
    oauth_client_secret: Annotated[str, HTTP]
    oidc_issuer_url: Annotated[str, HTTP]
    oidc_client_id: Annotated[str, HTTP]
    oidc_client_secret: Annotated[str, HTTP]
    oidc_allow_emails: Annotated[Strings, HTTP]
    oidc_allow_domains: Annotated[Strings, HTTP]
    oidc_scopes: Annotated[Strings, HTTP]


class ForwardOptions(SessionOptions, EndpointOptions, total=False):
    """All keyword options of `forward`."""


def check_options(given: Mapping[str, object], proto: str) -> dict[str, Any]:
    """The options without those that are None, dots in names become underscores as with ngrok.

    Raises PorticoError(OPTION_INVALID) that names the first wrong option, and the nearest valid one.
    """
    if proto not in ("http", "tcp", "tls", "labeled"):
        raise invalid("proto", f"{proto!r} is not one of http, tcp, tls, labeled")
    known = get_type_hints(ForwardOptions, include_extras=True)
    checked: dict[str, Any] = {}
    for spelled, value in given.items():
        name = spelled.replace(".", "_")
        if name not in known:
            raise _unknown(spelled, list(known))
        if value is None:
            continue
        hint, on = _split(known[name])
        if not _fits(value, hint):
            raise invalid(name, f"{_describe(hint)} is expected, not {type(value).__name__}{_near(value, hint)}")
        if on is not None and proto not in on.protocols:
            raise invalid(name, f"it is for {' and '.join(on.protocols)} endpoints, not for {proto}")
        checked[name] = value
    return checked


def invalid(name: str, reason: str) -> PorticoError:
    """The error for a wrong value of the option `name`."""
    return PorticoError(OPTION_INVALID, f"option {name}: {reason}", fix="See the options of portico.forward.")


def _unknown(name: str, known: list[str]) -> PorticoError:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else "See the options of portico.forward."
    return PorticoError(OPTION_INVALID, f"there is no option {name!r}", fix=hint)


def _split(hint: Any) -> tuple[Any, On | None]:
    if get_origin(hint) is Annotated:
        plain, on = get_args(hint)
        return plain, on
    return hint, None


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if arguments:  # a union
        return any(_fits(value, choice) for choice in arguments)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def _near(value: object, hint: Any) -> str:
    words = [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []
    near = get_close_matches(value.lower(), words, n=1) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


_PLAIN_WORDS = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    bytes: "bytes",
    bytearray: "a bytearray",
}


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin is Sequence:
        return "a list"
    if origin is Mapping:
        return "a dict"
    if arguments:
        return " or ".join(dict.fromkeys(_describe(choice) for choice in arguments))
    return _PLAIN_WORDS[hint]
