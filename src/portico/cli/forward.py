"""`portico http`, `tls` and `tcp`: one endpoint from flags."""

from typing import Any

import click

from portico.cli.failures import warn
from portico.cli.flags import FlagCommand, deprecations, endpoint_options, flag_for, given
from portico.cli.setup import Setup, agent_options

_UPSTREAM = click.argument("upstream", metavar="UPSTREAM")


@click.command(cls=FlagCommand)
@_UPSTREAM
@endpoint_options("http")
@agent_options
def http(**parameters: Any) -> int:
    """Give an HTTP service a public URL.

    UPSTREAM is a port, host:port, http:// or https:// URL, unix:/path, or file:///directory.

    \b
    portico http 8080
    portico http 8080 --url https://app.example.com
    portico http https://localhost:8443
    portico http file:///srv/site
    """
    return _forward("http", parameters)


@click.command(cls=FlagCommand)
@_UPSTREAM
@endpoint_options("tls")
@agent_options
def tls(**parameters: Any) -> int:
    """Give a TLS service a public URL.

    UPSTREAM is a port, host:port or unix:/path. TLS passes through to it, or ends before it: at the edge, under an
    automatic certificate or --crt and --key, or at this agent, where nobody else can read what passes.

    \b
    portico tls 443 --url tls://app.example.com
    portico tls 8080 --terminate-at edge
    portico tls 8080 --terminate-at agent --url tls://app.example.com --crt app.pem --key app.key
    """
    return _forward("tls", parameters)


@click.command(cls=FlagCommand)
@_UPSTREAM
@endpoint_options("tcp")
@agent_options
def tcp(**parameters: Any) -> int:
    """Give a TCP service a public address.

    UPSTREAM is a port, host:port or unix:/path.

    \b
    portico tcp 22
    portico tcp 5432 --url tcp://edge.example.com:20432
    """
    return _forward("tcp", parameters)


def _forward(kind: str, parameters: dict[str, Any]) -> int:
    for sentence in deprecations(kind, parameters):
        warn(sentence)
    values = {**given(kind, parameters), "proto": kind, "addr": parameters.pop("upstream")}
    setup = Setup.take(parameters)
    trust = setup.trust()  # is made while the rest is imported

    from portico.cli.config.endpoints import forwardings
    from portico.cli.config.pem import ask_on_terminal
    from portico.cli.run import run_agent

    return run_agent(setup, trust, forwardings("command_line", _tunnel(kind, values), ask_on_terminal()))


def _tunnel(kind: str, values: dict[str, Any]) -> Any:
    """The flags as an entry of `tunnels:`. Raises PorticoError(OPTION_INVALID) that names every wrong flag."""
    from portico.cli.config.models import Tunnel
    from portico.cli.config.section import SectionError
    from portico.model.errors import OPTION_INVALID, PorticoError

    try:
        return Tunnel.read(values)
    except SectionError as error:
        said = [(".".join(part for part in one.path if isinstance(part, str)), one.words) for one in error.faults]
        wrong = [f"{_flag(kind, key)}: {words}" for key, words in said]
        raise PorticoError(
            OPTION_INVALID, "\n".join(dict.fromkeys(wrong)), fix=f"See `portico {kind} --help`."
        ) from None


def _flag(kind: str, key: str) -> str:
    return "UPSTREAM" if key == "addr" else flag_for(kind, key)
