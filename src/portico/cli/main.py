"""`portico`: finds the command, runs it, and turns whatever goes wrong into a message and an exit status.

Each command is imported when it is used: `portico version` loads neither pydantic nor rich.
"""

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from portico.cli.failures import report
from portico.cli.groups import Group
from portico.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS: Final = {
    "http": ("portico.cli.forward:http", "Give an HTTP service a public URL."),
    "tls": ("portico.cli.forward:tls", "Give a TLS service a public URL."),
    "tcp": ("portico.cli.forward:tcp", "Give a TCP service a public address."),
    "start": ("portico.cli.start:start", "Start endpoints of the configuration file by name."),
    "config": ("portico.cli.config.command:config", "Check and change the configuration file."),
    "policy": ("portico.cli.policy:policy", "Check and explain traffic policies."),
    "api": ("portico.cli.api:api", "Call the edge's REST API."),
    "diagnose": ("portico.cli.diagnose:diagnose", "Find out why the edge cannot be reached."),
    "service": ("portico.cli.service.command:service", "Run the agent as a service of this machine."),
    "edge": ("portico.cli.edge:edge", "Run an edge: the public side."),
    "version": ("portico.cli.about:version", "Print the version."),
    "completion": ("portico.cli.about:completion", "Print the completion script of a shell."),
}


class LazyGroup(Group):
    """A group that knows its commands by name and short help, and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order in which people need them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """The commands that begin so, without importing any."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-v", "--version", prog_name="portico", message="%(prog)s version %(version)s")
def portico() -> None:
    """Public URLs for services anywhere, through an edge of your own.

    \b
    portico http 8080                                 a random URL for port 8080
    portico http 8080 --url https://app.example.com   a URL of your choice
    portico tcp 22                                    a public port for ssh
    portico start web db                              endpoints of the configuration file
    portico edge --domain example.com                 the public side itself
    """


def run(arguments: Sequence[str] | None = None, **extra: Any) -> int:
    """Run one command line and return its exit status."""
    try:
        status = portico.main(arguments, prog_name="portico", standalone_mode=False, **extra)
    except BaseException as error:  # the one place that all errors end at
        return report(error)
    return status if isinstance(status, int) else 0


def main() -> None:
    """The `portico` program."""
    gc.disable()  # what imports make stays, and looking for garbage in it takes an eighth of a start; see event_loop
    sys.exit(run())


if __name__ == "__main__":
    main()
