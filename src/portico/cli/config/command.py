"""`portico config`: check and change the configuration file."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from portico.cli.config.paths import default_path
from portico.cli.groups import Group
from portico.model.errors import CONFIG_INVALID, CONFIG_MISSING, OPTION_INVALID, PorticoError

_KEPT: Final = "The file was left as it was."


def _one_file(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--config", "file", metavar="FILE", help="The file, instead of the default one.")(function)


def _path(file: str | None) -> Path:
    return Path(file).expanduser() if file else default_path()


@click.group(cls=Group)
def config() -> None:
    """Check and change the configuration file."""


def _saving(
    name: str, key: str, what: str, metavar: str, check: Callable[[str], object] | None = None
) -> click.Command:
    """A command that saves one key of the agent, whose value passes `check`."""

    @click.command(name, help=f"Save {what} in the configuration file.", short_help=f"Save {what}.")
    @click.argument("value", metavar=metavar)
    @_one_file
    def save(value: str, file: str | None) -> None:
        from portico.cli.config.writing import set_agent_key

        if not value.strip() or not value.isprintable():
            raise PorticoError(OPTION_INVALID, f"{metavar} is empty or has characters that cannot be printed")
        if check is not None:
            check(value)
        path = _path(file)
        set_agent_key(path, key, value.strip())
        click.echo(f"saved {what} in {path}")

    return save


def _address(text: str) -> None:
    from portico.agent.edge_address import EdgeAddress

    EdgeAddress.parse(text)


config.add_command(_saving("add-authtoken", "authtoken", "the authtoken", "TOKEN"))
config.add_command(_saving("add-api-key", "api_key", "the API key", "KEY"))
config.add_command(_saving("add-connect-url", "connect_url", "the edge's address", "HOST:PORT", _address))
_former = _saving("add-server-addr", "connect_url", "the edge's address", "HOST:PORT", _address)
_former.hidden = True
config.add_command(_former)


@config.command()
@click.option("--config", "named", multiple=True, metavar="FILE", help="The file; several are checked as merged.")
def check(named: tuple[str, ...]) -> None:
    """Check the configuration file, and tell everything that is wrong with it."""
    from portico.cli.config.document import load
    from portico.cli.config.endpoints import entry_forwardings, named_entries

    files = [Path(name).expanduser() for name in named] or [default_path()]
    document = load(files)
    problems = []
    for name, entry in named_entries(document).items():
        try:
            entry_forwardings(name, entry)
        except PorticoError as error:
            problems.append(error.message)
    if problems:
        raise PorticoError(CONFIG_INVALID, "\n".join(problems))
    click.echo(f"valid: {', '.join(map(str, files))}")


@config.command()
@_one_file
def edit(file: str | None) -> None:
    """Open the configuration file in an editor ($VISUAL or $EDITOR), and keep only what is valid."""
    from portico.cli.config.document import validate
    from portico.cli.config.writing import write_private
    from portico.yaml_source import parse, read_text

    path = _path(file)
    before = read_text(path) if path.exists() else "version: 3\nagent:\n"
    draft = _draft(before)
    try:
        while True:
            _run_editor(draft)
            text = read_text(draft)
            try:
                validate([parse(text, str(path))])
                break
            except PorticoError as error:
                if not _again(error.message):
                    raise PorticoError(CONFIG_INVALID, "the edited file is not valid", fix=_KEPT) from None
    finally:
        draft.unlink(missing_ok=True)
    if text == before and path.exists():
        click.echo(f"unchanged: {path}")
        return
    write_private(path, text)
    click.echo(f"saved {path}")


def _again(problems: str) -> bool:
    click.echo(problems, err=True)
    return sys.stdin.isatty() and click.confirm("Edit again?", default=True, err=True)


def _draft(text: str) -> Path:
    """A private copy to edit; its suffix tells editors the language."""
    with tempfile.NamedTemporaryFile("w", prefix="portico-", suffix=".yml", delete=False, encoding="utf-8") as file:
        file.write(text)
    return Path(file.name)


def _run_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "nano")
    try:
        status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        raise PorticoError(
            OPTION_INVALID,
            f"the editor {editor!r} cannot be started: {getattr(error, 'strerror', None) or error}",
            fix="Set EDITOR.",
        ) from None
    if status:
        raise PorticoError(CONFIG_INVALID, f"the editor ended with status {status}", fix=_KEPT)


@config.command()
@click.argument("version", metavar="[VERSION]", type=click.Choice(["3"]), required=False)
@click.option("--dry-run", is_flag=True, help="Print what the file would become, and change nothing.")
@click.option("--relocate", is_flag=True, help="Move the file to the default place.")
@_one_file
def upgrade(version: str | None, dry_run: bool, relocate: bool, file: str | None) -> None:
    """Bring the configuration file to version 3. The former one is kept beside it as FILE.bak."""
    from portico.cli.config.upgrade import upgraded
    from portico.cli.config.writing import write_private
    from portico.yaml_source import read_text

    path = _path(file)
    target = default_path() if relocate else path
    before = read_text(path)
    after = upgraded(before, str(path))
    if dry_run:
        click.echo(after, nl=False)
        return
    if target != path and target.exists():
        raise PorticoError(CONFIG_MISSING, f"{target} exists already", fix="Move it away, or leave out --relocate.")
    if (after, target) == (before, path):
        click.echo(f"{path} is version 3 already")
        return
    write_private(path.with_name(f"{path.name}.bak"), before)
    write_private(target, after)
    if target != path:
        path.unlink()
    click.echo(after, nl=False)
    click.echo(f"saved {target}; the former file is {path}.bak", err=True)
