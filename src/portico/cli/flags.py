"""The flags of `portico http|tls|tcp`: one row each, in ngrok's words. A row names the key of `tunnels:` that it sets.

What is checked of a value is said once, in the model of that key (`config/models.py`); a flag adds nothing to it.
"""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

import click

from portico.model.errors import OPTION_INVALID, PorticoError
from portico.model.value import Value

ALL: Final = frozenset({"http", "tls", "tcp"})
HTTP: Final = frozenset({"http"})
NAMED: Final = frozenset({"http", "tls"})
RAW: Final = frozenset({"tls", "tcp"})
TCP: Final = frozenset({"tcp"})
TLS: Final = frozenset({"tls"})


class Kind(StrEnum):
    """How the text after a flag is read."""

    TEXT = "text"
    SWITCH = "true|false"
    """Alone it means true, as in Go; `--inspect=false` switches off."""
    LIST = "text, repeatable"
    COMMAS = "text, repeatable or with commas"


class Flag(Value, frozen=True):
    """One flag. `instead` is set where it is deprecated: it works, warns, and is left out of `--help`."""

    name: str
    key: str
    """Dotted path in `Tunnel`; empty where the flag is accepted and means nothing."""
    help: str
    kinds: frozenset[str] = ALL
    kind: Kind = Kind.TEXT
    metavar: str = "TEXT"
    instead: str = ""

    @property
    def parameter(self) -> str:
        """The name that click hands the value over under."""
        return self.name.removeprefix("--").replace("-", "_")


_POLICY: Final = "use --traffic-policy-file"
_URL: Final = "use --url"

FLAGS: Final = (
    Flag("--url", "url", "The public URL. Leave out the host, or all of it, for a random one.", metavar="URL"),
    Flag("--name", "name", "Name of the endpoint.", metavar="NAME"),
    Flag("--description", "description", "Your own words about the endpoint."),
    Flag("--metadata", "metadata", "Your own text about the endpoint, shown by the edge."),
    Flag("--binding", "bindings", "Who can reach it: public, internal or kubernetes.", kind=Kind.COMMAS),
    Flag("--pooling-enabled", "pooling_enabled", "Let other agents share the URL.", kind=Kind.SWITCH),
    Flag("--pool-weight", "pool_weight", "Share of a pool's load beside the others' [default: 1].", metavar="N"),
    Flag(
        "--inspect",
        "inspect",
        "Keep requests for the local web interface [default: true].",
        HTTP,
        Kind.SWITCH,
    ),
    Flag("--traffic-policy-file", "traffic_policy_file", "File with the traffic policy, YAML or JSON.", metavar="FILE"),
    Flag("--traffic-policy-url", "traffic_policy_url", "Address to fetch the traffic policy from.", metavar="URL"),
    Flag("--upstream-protocol", "upstream_protocol", "The upstream's HTTP: http1 or http2.", NAMED),
    Flag(
        "--upstream-proxy-protocol", "upstream_proxy_protocol", "PROXY protocol to the upstream: 1 or 2.", metavar="N"
    ),
    Flag("--upstream-tls-verify", "upstream_tls_verify", "Verify the upstream's certificate.", kind=Kind.SWITCH),
    Flag(
        "--upstream-tls-verify-cas",
        "upstream_tls_verify_cas",
        "PEM file of who may sign the upstream's certificate.",
        metavar="FILE",
    ),
    Flag(
        "--upstream-tls-server-name",
        "upstream_tls_server_name",
        "Name to ask the upstream for, and to find in its certificate.",
        metavar="NAME",
    ),
    Flag(
        "--upstream-tls-min-version",
        "upstream_tls_min_version",
        "Oldest TLS to speak with the upstream: 1.2 or 1.3.",
        metavar="VERSION",
    ),
    Flag(
        "--upstream-client-crt",
        "upstream_client_crt",
        "PEM file of the certificate for an upstream that demands one.",
        metavar="FILE",
    ),
    Flag("--upstream-client-key", "upstream_client_key", "PEM file of its private key.", metavar="FILE"),
    Flag(
        "--upstream-client-key-passphrase-file",
        "upstream_client_key_passphrase_file",
        "File with the passphrase of that key.",
        metavar="FILE",
    ),
    Flag("--terminate-at", "terminate_at", "Where TLS ends: edge, agent or upstream.", TLS, metavar="PLACE"),
    Flag("--crt", "crt", "PEM file of the certificate, for TLS that ends before the upstream.", TLS, metavar="FILE"),
    Flag("--key", "key", "PEM file of its private key.", TLS, metavar="FILE"),
    Flag("--key-passphrase-file", "key_passphrase_file", "File with the key's passphrase.", TLS, metavar="FILE"),
    Flag(
        "--crt-any-domain",
        "crt_any_domain",
        "End TLS at the agent even under a certificate that does not cover the domain.",
        TLS,
        Kind.SWITCH,
    ),
    Flag(
        "--mutual-tls-cas",
        "mutual_tls_cas",
        "PEM file of who may sign visitors' certificates.",
        NAMED,
        Kind.LIST,
        metavar="FILE",
    ),
    Flag("--cidr-allow", "ip_restriction.allow_cidrs", "Only these networks may connect.", RAW, Kind.COMMAS),
    Flag("--cidr-deny", "ip_restriction.deny_cidrs", "These networks may not connect.", RAW, Kind.COMMAS),
    # Deprecated by ngrok, and still in many scripts.
    Flag("--domain", "domain", "The public host name.", NAMED, instead=_URL),
    Flag("--hostname", "hostname", "The public host name.", NAMED, instead=_URL),
    Flag("--subdomain", "subdomain", "The public name below the edge's domain.", NAMED, instead=_URL),
    Flag("--scheme", "schemes", "http, https or both.", HTTP, Kind.COMMAS, instead=_URL),
    Flag("--remote-addr", "remote_addr", "The public host:port.", TCP, instead=_URL),
    Flag("--region", "", "An edge is named by its address.", instead="use --connect-url"),
    Flag("--app-protocol", "upstream_protocol", "The upstream's HTTP.", HTTP, instead="use --upstream-protocol"),
    Flag("--proxy-proto", "proxy_proto", "PROXY protocol to the upstream.", instead="use --upstream-proxy-protocol"),
    Flag("--policy-file", "traffic_policy_file", "File with the traffic policy.", instead=_POLICY),
    Flag("--host-header", "host_header", "Host header for the upstream, or `rewrite`.", HTTP, instead=_POLICY),
    Flag("--basic-auth", "basic_auth", "user:password to ask for.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--circuit-breaker", "circuit_breaker", "Share of 5xx that stops requests.", HTTP, instead=_POLICY),
    Flag("--compression", "compression", "Compress answers.", HTTP, Kind.SWITCH, instead=_POLICY),
    Flag("--cidr-allow", "ip_restriction.allow_cidrs", "Networks to let in.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--cidr-deny", "ip_restriction.deny_cidrs", "Networks to refuse.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--oauth", "oauth.provider", "OAuth provider to sign in with.", HTTP, instead=_POLICY),
    Flag("--oauth-allow-domain", "oauth.allow_domains", "Mail domains.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--oauth-allow-email", "oauth.allow_emails", "Mail addresses.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--oauth-client-id", "oauth.client_id", "The application's id.", HTTP, instead=_POLICY),
    Flag("--oauth-client-secret", "oauth.client_secret", "The application's secret.", HTTP, instead=_POLICY),
    Flag("--oauth-scope", "oauth.scopes", "Scopes to ask for.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--oidc", "oidc.issuer_url", "OpenID Connect issuer.", HTTP, instead=_POLICY),
    Flag("--oidc-client-id", "oidc.client_id", "The application's id.", HTTP, instead=_POLICY),
    Flag("--oidc-client-secret", "oidc.client_secret", "The application's secret.", HTTP, instead=_POLICY),
    Flag("--oidc-scope", "oidc.scopes", "Scopes to ask for.", HTTP, Kind.COMMAS, instead=_POLICY),
    Flag("--request-header-add", "request_header.add", "name:value.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--request-header-remove", "request_header.remove", "Name.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--response-header-add", "response_header.add", "name:value.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--response-header-remove", "response_header.remove", "Name.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--ua-filter-allow", "user_agent_filter.allow", "Agents to let in.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--ua-filter-deny", "user_agent_filter.deny", "Agents to refuse.", HTTP, Kind.LIST, instead=_POLICY),
    Flag("--verify-webhook", "verify_webhook.provider", "Sender of webhooks.", HTTP, instead=_POLICY),
    Flag("--verify-webhook-secret", "verify_webhook.secret", "Its secret.", HTTP, instead=_POLICY),
    Flag(
        "--websocket-tcp-converter",
        "websocket_tcp_converter",
        "WebSocket messages become a byte stream.",
        HTTP,
        Kind.SWITCH,
    ),
)


def flags_of(kind: str) -> tuple[Flag, ...]:
    """The flags of one verb."""
    return tuple(flag for flag in FLAGS if kind in flag.kinds)


def endpoint_options(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a command the flags of one verb."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag in reversed(flags_of(kind)):
            function = click.option(
                flag.name,
                flag.parameter,
                multiple=flag.kind in (Kind.LIST, Kind.COMMAS),
                metavar="[=false]" if flag.kind is Kind.SWITCH else flag.metavar,
                hidden=bool(flag.instead),
                help=flag.help,
            )(function)
        return function

    return decorate


_ONE_HYPHEN: Final = re.compile(r"-[a-z][a-z]")


class FlagCommand(click.Command):
    """A command whose flags may be written as ngrok's users write them: `--inspect=false`, `--inspect`, `-inspect`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, after each known flag has been put into click's spelling."""
        switches = {flag.name for flag in FLAGS if flag.kind is Kind.SWITCH}
        known = {name for parameter in self.params for name in parameter.opts}
        end = args.index("--") if "--" in args else len(args)
        spelled: list[str] = []
        for argument in args[:end]:
            is_value = bool(spelled) and spelled[-1] in known and spelled[-1] not in ("-h", "--help")
            spelled.append(argument if is_value else _spelled(argument, known & switches))
        try:
            return super().parse_args(ctx, spelled + args[end:])
        except click.NoSuchOption as error:
            ctx.fail(self._no_such_flag(error.option_name, str(ctx.info_name)))
        except click.UsageError as error:
            error.ctx = ctx
            raise

    def _no_such_flag(self, name: str, kind: str) -> str:
        own = [name for parameter in self.params for name in parameter.opts]
        elsewhere = next((sorted(flag.kinds) for flag in FLAGS if flag.name == name), [])
        if elsewhere and kind in ALL:
            return f"{name} is a flag of {' and '.join(elsewhere)} endpoints, not of {kind}"
        import difflib

        near = difflib.get_close_matches(name, own, n=1, cutoff=0.7)
        return f"there is no flag {name}{f'; did you mean {near[0]}?' if near else ''}"


def _spelled(argument: str, switches: set[str]) -> str:
    if _ONE_HYPHEN.match(argument):
        argument = f"-{argument}"
    return f"{argument}=true" if argument in switches else argument


def given(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the flags say, under the keys of `Tunnel`, with every flag taken out of `parameters`.

    Raises PorticoError(OPTION_INVALID) where two flags say the same.
    """
    values: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for flag in flags_of(kind):
        value = parameters.pop(flag.parameter)
        if value is None or value == () or not flag.key:
            continue
        if flag.key in set_by:
            raise PorticoError(OPTION_INVALID, f"{set_by[flag.key]} and {flag.name} say the same; give one of them")
        set_by[flag.key] = flag.name
        section, _, last = flag.key.rpartition(".")
        below = values.setdefault(section, {}) if section else values
        below[last] = _items(value) if flag.kind is Kind.COMMAS else value
    return values


def deprecations(kind: str, parameters: dict[str, Any]) -> Iterable[str]:
    """One sentence for each deprecated flag that was given."""
    for flag in flags_of(kind):
        if flag.instead and parameters[flag.parameter] not in (None, ()):
            yield f"{flag.name} is deprecated; {flag.instead}"


def flag_for(kind: str, key: str) -> str:
    """The flag that sets `key`, for messages."""
    return next((flag.name for flag in flags_of(kind) if flag.key == key), key)


def _items(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item.strip() for value in values for item in value.split(",") if item.strip())
