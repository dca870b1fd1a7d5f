"""The remote command of `ssh -R … v2@edge COMMAND`: a protocol and flags, in the words of ngrok's agent.

What cannot be kept over SSH is refused, never ignored. Source of the conventions:
https://ngrok.com/docs/agent/ssh-reverse-tunnel-agent
"""

import difflib
import shlex
from collections.abc import Iterator
from typing import Final

import msgspec

from portico.model.errors import NOT_OVER_SSH, OPTION_INVALID, PorticoError
from portico.ssh.visitor_flags import POLICY, VISITOR_FLAGS, VISITOR_SWITCHES, Options, add, check

PROTOCOLS: Final = ("http", "tls", "tcp")
MAX_COMMAND: Final = 16_384
"""Characters of a command."""
_MAX_SHOWN: Final = 80


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the command asks for; it holds for every `-R` of the connection."""

    protocol: str = ""
    """http, tls or tcp; empty where there was no command, and the port of each `-R` decides."""
    help: bool = False
    url: str = ""
    host: str = ""
    """Of --domain, --hostname, --subdomain or --remote-addr (then with its port)."""
    scheme: str = ""
    """http or https, of --scheme."""
    name: str = ""
    description: str = ""
    metadata: str = ""
    host_header: str = ""
    pooling: bool = False
    upstream_http: int = 1
    """HTTP version of the upstream, 1 or 2."""
    proxy_protocol: int = 0
    """PROXY protocol version to the upstream; 0 for none."""
    options: dict[str, object] = {}
    """What is asked of visitors, as the `Opts` of an agent's bind have it."""

    def __repr__(self) -> str:
        """Without the options, which have passwords."""
        return f"Command({self.protocol!r})"


HELP: Final = """\
Usage: ssh -R [NAME:]PORT:HOST:PORT v2@EDGE http|tls|tcp [FLAGS]

  ssh -R 0:localhost:8080 v2@EDGE http                      a random https name
  ssh -R app.example.com:443:localhost:443 v2@EDGE tls      your own name, TLS passed through
  ssh -R 0:localhost:22 v2@EDGE tcp                         the next free port

PORT is 443 or 80 for http, 443 for tls, a port of the edge's range for tcp; 0 leaves it to the edge.

Flags:
  --url URL                        the public URL
  --domain NAME                    the public name (http, tls)
  --scheme http|https              how visitors come (http)
  --remote-addr [HOST:]PORT        the public port (tcp)
  --name, --description, --metadata TEXT
  --pooling-enabled                share the URL with others that say the same
  --host-header NAME               Host header for the upstream (http)
  --upstream-protocol http1|http2  (http)
  --upstream-proxy-protocol 1|2    tell the upstream the visitor's address
  --cidr-allow, --cidr-deny NETS   who may connect
  --traffic-policy JSON            what is done with visitors' connections and requests

Flags of http about visitors:
  --basic-auth USER:PASSWORD, --compression, --circuit-breaker SHARE
  --websocket-tcp-converter        WebSockets of visitors become plain bytes for your upstream
  --oauth PROVIDER, --oauth-client-id, --oauth-client-secret, --oauth-allow-domain, --oauth-allow-email, --oauth-scope
  --oidc ISSUER, --oidc-client-id, --oidc-client-secret, --oidc-scope
  --request-header-add, --request-header-remove, --response-header-add, --response-header-remove
  --ua-filter-allow, --ua-filter-deny REGEX, --verify-webhook PROVIDER, --verify-webhook-secret SECRET
"""

_AGENT: Final = "Use the agent for it: `portico {0} … {1}`."
_NO_FILE: Final = (
    "SSH sends no file: write the policy into the command, as JSON in two pairs of quotes, "
    "`--traffic-policy \"'$(cat policy.json)'\"`, or use the agent."
)
_NO_END: Final = (
    "TLS of a `tls` endpoint ends at your upstream over SSH. "
    "Use `http` here (the edge ends TLS with its own certificate), or the agent: `portico tls … --terminate-at {}`."
)
_NO_CERTIFICATE: Final = (
    "Let your upstream use it with `tls` here, or use the agent: `portico tls … --terminate-at edge|agent --crt --key`."
)
_NO_MUTUAL: Final = (
    "Use the agent: `portico tls … --terminate-at edge|agent --mutual-tls-cas FILE`, or check visitors' certificates "
    "at your upstream with `tls` here."
)
_TEXT: Final = {
    "--name": "name",
    "--description": "description",
    "--metadata": "metadata",
    "--url": "url",
    "--domain": "host",
    "--hostname": "host",
    "--subdomain": "host",
    "--remote-addr": "host",
    "--host-header": "host_header",
}
"""Flags that take any text, with their fields."""
_BOOLEAN: Final[dict[str, object]] = {"true": True, "false": False}
_VERSIONS: Final[dict[str, object]] = {"1": 1, "2": 2}
_HTTP_VERSIONS: Final[dict[str, object]] = {"http1": 1, "http2": 2}
_CHOICES: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "--pooling-enabled": ("pooling", _BOOLEAN),
    "--inspect": ("", _BOOLEAN),
    **dict.fromkeys(VISITOR_SWITCHES, ("on", _BOOLEAN)),
    "--binding": ("", {"public": True}),
    "--scheme": ("scheme", {"http": "http", "https": "https"}),
    "--upstream-protocol": ("upstream_http", _HTTP_VERSIONS),
    "--app-protocol": ("upstream_http", _HTTP_VERSIONS),
    "--upstream-proxy-protocol": ("proxy_protocol", _VERSIONS),
    "--proxy-proto": ("proxy_protocol", _VERSIONS),
}
"""Flags that take one of a few words, with their fields; no field where only the default is possible, or nothing."""
_ONLY: Final = {
    "--domain": ("http", "tls"),
    "--hostname": ("http", "tls"),
    "--subdomain": ("http", "tls"),
    "--remote-addr": ("tcp",),
    **{flag: known.protocols for flag, known in VISITOR_FLAGS.items()},
    **dict.fromkeys(VISITOR_SWITCHES, ("http",)),
    **dict.fromkeys(("--scheme", "--host-header", "--upstream-protocol", "--app-protocol", "--inspect"), ("http",)),
}
"""Flags that not every protocol has."""
_SWITCHES: Final = ("--pooling-enabled", "--inspect", *VISITOR_SWITCHES)
_CERTIFICATE: Final = ("--crt", "--key")
_FILES: Final = ("--traffic-policy-file", "--traffic-policy-url", "--policy-file")
_OF_THE_AGENT: Final = (
    *_FILES,
    *("--upstream-tls-verify", "--upstream-tls-verify-cas", "--config", "--authtoken"),
    *("--region", "--log", "--log-format", "--log-level"),
)
_KNOWN: Final = (
    *_TEXT, *_CHOICES, *_CERTIFICATE, *_OF_THE_AGENT, *VISITOR_FLAGS, *VISITOR_SWITCHES, POLICY,
    "--terminate-at", "--mutual-tls-cas", "--help",
)  # fmt: skip


def parse(text: str) -> Command:
    """Read a command; no text at all is no command. Raises PorticoError: OPTION_INVALID or NOT_OVER_SSH."""
    if len(text) > MAX_COMMAND:
        raise PorticoError(OPTION_INVALID, f"the command is longer than {MAX_COMMAND} characters", fix=_SEE_HELP)
    if not text.isprintable():
        raise PorticoError(OPTION_INVALID, "the command has unprintable characters", fix=_SEE_HELP)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise PorticoError(OPTION_INVALID, f"the command cannot be read: {error}", fix=_SEE_HELP) from None
    if not words:
        return Command()
    if any(word in ("-h", "--help", "help") for word in words):
        return Command(help=True)
    protocol, *rest = words
    if protocol not in PROTOCOLS:
        raise PorticoError(OPTION_INVALID, f"{_shown(protocol)} is no protocol; http, tls and tcp are", fix=_SEE_HELP)
    return _command(protocol, rest)


def _command(protocol: str, words: list[str]) -> Command:
    fields: dict[str, object] = {}
    options: Options = {}
    for flag, value in _flags(protocol, words):
        field = _field(protocol, flag, value)
        if flag in VISITOR_SWITCHES:
            options |= {VISITOR_SWITCHES[flag]: {}} if field["on"] else {}
        elif flag == POLICY:
            options["TrafficPolicy"] = value
        elif flag in VISITOR_FLAGS:
            add(options, flag, value)
        else:
            fields |= field
    check(options)
    return Command(protocol=protocol, options=options, **fields)  # type: ignore[arg-type]


_SEE_HELP: Final = "Say `--help` as the command to see what there is."


def _flags(protocol: str, words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            raise PorticoError(
                OPTION_INVALID,
                f"{_shown(word)} is no flag",
                fix="The upstream's address belongs to -R: `ssh -R 0:localhost:8080 …`.",
            )
        _refuse(protocol, flag)
        if flag in _SWITCHES:
            yield flag, value if equals else "true"
            continue
        if not equals:
            value = next(rest, "")
        if flag == "--terminate-at":
            _refuse_end(value)
            continue
        if not value:
            raise PorticoError(OPTION_INVALID, f"{flag} needs a value", fix=_SEE_HELP)
        yield flag, value


def _refuse(protocol: str, flag: str) -> None:
    """What no SSH client could keep, or what nobody knows."""
    if flag in _CERTIFICATE:
        raise PorticoError(
            NOT_OVER_SSH, f"{flag} names a file that SSH does not send; TLS ends at your upstream", fix=_NO_CERTIFICATE
        )
    if flag == "--mutual-tls-cas":
        raise PorticoError(NOT_OVER_SSH, "mutual TLS is not offered over SSH", fix=_NO_MUTUAL)
    if flag in _FILES:
        raise PorticoError(NOT_OVER_SSH, f"{flag} is not offered over SSH", fix=_NO_FILE)
    if flag in _OF_THE_AGENT:
        raise PorticoError(NOT_OVER_SSH, f"{flag} is not offered over SSH", fix=_AGENT.format(protocol, flag))
    if flag not in _KNOWN:
        near = difflib.get_close_matches(flag, _KNOWN, 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise PorticoError(OPTION_INVALID, f"there is no flag {_shown(flag)}", fix=meant + _SEE_HELP)


def _refuse_end(place: str) -> None:
    if place in ("edge", "agent"):
        raise PorticoError(NOT_OVER_SSH, f"SSH does not support termination at the {place}", fix=_NO_END.format(place))
    if place != "upstream":
        raise PorticoError(OPTION_INVALID, f"--terminate-at {_shown(place)}: only upstream is possible", fix=_SEE_HELP)


def _field(protocol: str, flag: str, value: str) -> dict[str, object]:
    """The field of `Command` that a flag sets."""
    only = _ONLY.get(flag, PROTOCOLS)
    if protocol not in only:
        raise PorticoError(OPTION_INVALID, f"{flag} is no flag of {protocol}", fix=_SEE_HELP)
    if flag == "--host-header":
        _refuse_rewrite(value)
    if flag in _CHOICES:
        name, choices = _CHOICES[flag]
        chosen = _choice(flag, value, choices)
        return {name: chosen} if name else {}
    return {_TEXT[flag]: value} if flag in _TEXT else {}


def _refuse_rewrite(value: str) -> None:
    if value == "rewrite":
        raise PorticoError(
            NOT_OVER_SSH,
            "the edge does not learn the upstream's name over SSH",
            fix="Give the name itself: `--host-header NAME`.",
        )


def _choice(flag: str, value: str, choices: dict[str, object]) -> object:
    if value not in choices:
        raise PorticoError(OPTION_INVALID, f"{flag} {_shown(value)}: it takes {' or '.join(choices)}", fix=_SEE_HELP)
    return choices[value]


def _shown(text: str) -> str:
    return repr(text[:_MAX_SHOWN])
