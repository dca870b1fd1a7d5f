"""What a command asks of visitors or does to their requests: flags of ngrok's agent, as a bind's `Opts` have them."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from portico.model.errors import OPTION_INVALID, PorticoError

Options = dict[str, Any]


class VisitorFlag(NamedTuple):
    """Where a flag's value goes in `Opts`: the object and the key in it."""

    option: str
    key: str
    read: Callable[[str, str], object]
    """Makes the value of the flag's name and text. Lists of several flags are joined."""
    protocols: tuple[str, ...] = ("http",)


def _text(_: str, value: str) -> object:
    return value


def _one(_: str, value: str) -> object:
    return [value]


def _several(_: str, value: str) -> object:
    return [one.strip() for one in value.split(",") if one.strip()]


def _user(flag: str, value: str) -> object:
    name, colon, password = value.partition(":")
    if not colon:
        # The text may be a password; it does not belong into an error.
        raise PorticoError(OPTION_INVALID, f"{flag} takes user:password")
    return [{"username": name, "cleartext_password": password}]


def _share(flag: str, value: str) -> object:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise PorticoError(OPTION_INVALID, f"{flag} takes a share between 0 and 1")
    return share


_ALL: Final = ("http", "tls", "tcp")
VISITOR_FLAGS: Final = {
    "--basic-auth": VisitorFlag("BasicAuth", "credentials", _user),
    "--auth": VisitorFlag("BasicAuth", "credentials", _user),
    "--circuit-breaker": VisitorFlag("CircuitBreaker", "error_threshold", _share),
    "--cidr-allow": VisitorFlag("IPRestriction", "allow_cidrs", _several, _ALL),
    "--cidr-deny": VisitorFlag("IPRestriction", "deny_cidrs", _several, _ALL),
    "--oauth": VisitorFlag("OAuth", "provider", _text),
    "--oauth-client-id": VisitorFlag("OAuth", "client_id", _text),
    "--oauth-client-secret": VisitorFlag("OAuth", "client_secret", _text),
    "--oauth-allow-domain": VisitorFlag("OAuth", "allow_domains", _several),
    "--oauth-allow-email": VisitorFlag("OAuth", "allow_emails", _several),
    "--oauth-scope": VisitorFlag("OAuth", "scopes", _several),
    "--oidc": VisitorFlag("OIDC", "issuer_url", _text),
    "--oidc-client-id": VisitorFlag("OIDC", "client_id", _text),
    "--oidc-client-secret": VisitorFlag("OIDC", "client_secret", _text),
    "--oidc-scope": VisitorFlag("OIDC", "scopes", _several),
    "--request-header-add": VisitorFlag("RequestHeaders", "add", _one),
    "--request-header-remove": VisitorFlag("RequestHeaders", "remove", _one),
    "--response-header-add": VisitorFlag("ResponseHeaders", "add", _one),
    "--response-header-remove": VisitorFlag("ResponseHeaders", "remove", _one),
    "--ua-filter-allow": VisitorFlag("UserAgentFilter", "allow", _one),
    "--ua-filter-deny": VisitorFlag("UserAgentFilter", "deny", _one),
    "--verify-webhook": VisitorFlag("WebhookVerification", "provider", _text),
    "--verify-webhook-secret": VisitorFlag("WebhookVerification", "secret", _text),
}
VISITOR_SWITCHES: Final = {"--compression": "Compression", "--websocket-tcp-converter": "WebsocketTCPConverter"}
"""Those that are on or off, with the object that is there where they are on."""
POLICY: Final = "--traffic-policy"
"""Portico's own: the policy itself, for SSH sends no file."""
_NEEDED: Final = {
    "OAuth": ("provider", "--oauth"),
    "OIDC": ("issuer_url", "--oidc"),
    "WebhookVerification": ("provider", "--verify-webhook"),
}


def add(options: Options, flag: str, value: str) -> None:
    """Put one flag into `options`. Raises PorticoError(OPTION_INVALID), without the value."""
    known = VISITOR_FLAGS[flag]
    group = options.setdefault(known.option, {})
    read = known.read(flag, value)
    group[known.key] = [*group.get(known.key, []), *read] if isinstance(read, list) else read


def check(options: Options) -> None:
    """Whether what belongs together is there. Raises PorticoError(OPTION_INVALID)."""
    for option, (key, flag) in _NEEDED.items():
        if option in options and key not in options[option]:
            raise PorticoError(OPTION_INVALID, f"{flag} is missing beside its other flags")
