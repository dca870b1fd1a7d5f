"""`portico start`: endpoints of the configuration file."""

from collections.abc import Iterable
from typing import Any

import click

from portico.cli.failures import warn
from portico.cli.setup import Setup, agent_options
from portico.model.errors import OPTION_INVALID, PorticoError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Start every endpoint of the file.")
@click.option("--none", "nothing", is_flag=True, help="Start no endpoint; keep a session.")
@click.option("--region", hidden=True)
@agent_options
def start(names: tuple[str, ...], everything: bool, nothing: bool, region: str | None, **parameters: Any) -> int:
    """Start endpoints of the configuration file by name.

    Goes on trying where the edge cannot be reached yet, as a service should.

    \b
    portico start web db
    portico start --all
    """
    if region is not None:
        warn("--region is deprecated; use --connect-url")
    if sum((bool(names), everything, nothing)) != 1:
        raise click.UsageError("give names of endpoints, or --all, or --none")
    setup = Setup.take(parameters)
    trust = setup.trust()  # is made while the rest is imported

    from portico.cli.config.endpoints import entry_forwardings
    from portico.cli.config.pem import ask_on_terminal
    from portico.cli.run import run_agent

    known, ask = setup.entries, ask_on_terminal()
    chosen = _every(known) if everything else _known(names, list(known))
    wanted = tuple(one for name in chosen for one in entry_forwardings(name, known[name], ask))
    return run_agent(setup, trust, wanted, persistent=True)


def _every(known: Iterable[str]) -> list[str]:
    if not (names := list(known)):
        raise PorticoError(
            OPTION_INVALID,
            "the configuration has no endpoint that could be started",
            fix="Give the file that has some with --config, or keep a session without any by --none.",
        )
    return names


def _known(names: Iterable[str], known: list[str]) -> list[str]:
    for name in names:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PorticoError(
                OPTION_INVALID,
                f"the configuration has no endpoint {name!r}{hint}",
                fix=f"It has {', '.join(known)}." if known else "It has none; see docs/reference/agent-config.md.",
            )
    return list(dict.fromkeys(names))
