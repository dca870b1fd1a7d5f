"""`portico version` and `portico completion`."""

import json

import click

from portico.version import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"portico version {__version__}")


@click.command()
@click.argument("shell", metavar="[SHELL]", type=click.Choice(["bash", "zsh", "fish"]), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script of a shell.

    \b
    bash   eval "$(portico completion bash)"              in ~/.bashrc
    zsh    eval "$(portico completion zsh)"               in ~/.zshrc
    fish   portico completion fish | source               in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    known = get_completion_class(shell or _own_shell())
    assert known is not None
    root = ctx.find_root()
    click.echo(known(root.command, {}, "portico", "_PORTICO_COMPLETE").source())


def _own_shell() -> str:
    """The shell that SHELL names, or bash."""
    import os
    from pathlib import PurePath

    name = PurePath(os.environ.get("SHELL", "")).name
    return name if name in ("bash", "zsh", "fish") else "bash"
