"""`portico service`: install the agent as a service, and manage it (https://ngrok.com/docs/agent/service)."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from portico.cli.groups import Group
from portico.cli.service.manager import NAME, Program, ServiceManager, this_machine
from portico.cli.setup import Setup, config_files, config_option
from portico.model.errors import (
    AUTHTOKEN_MISSING,
    CONFIG_MISSING,
    OPTION_INVALID,
    SERVICE_EXISTS,
    SERVICE_MANAGER_MISSING,
    SERVICE_MISSING,
    SERVICE_REFUSED,
    PorticoError,
)

if TYPE_CHECKING:
    from portico.cli.config.models import AgentKeys

_NOT_RUNNING: Final = 3
"""What LSB's init scripts, and systemctl, exit with."""


@click.group(cls=Group)
def service() -> None:
    """Run the agent as a service of this machine: started at boot, and again after a crash.

    \b
    portico service install --config /etc/portico.yml
    portico service start
    portico service status
    """


def _own_option(function: Callable[..., Any]) -> Callable[..., Any]:
    words = "A service of yours, not the machine's; what everybody but root has."
    return click.option("--user", "own", is_flag=True, help=words)(function)


@service.command(short_help="Install the service.")
@config_option
@_own_option
def install(config: tuple[str, ...], own: bool) -> None:
    """Install a service that starts every endpoint of the configuration file.

    Nothing is installed unless the file is valid. Neither it nor the program may be moved afterwards.
    """
    program = _checked(config)
    try:
        manager = this_machine(own)
    except PorticoError as error:
        fix = f"Let what starts services here run: {shlex.join(program.arguments)}"
        raise PorticoError(SERVICE_MANAGER_MISSING, error.message, fix=fix) from None
    if manager.file.exists():
        raise PorticoError(SERVICE_EXISTS, f"the service is installed already: {manager.file}")
    _write(manager, program)
    click.echo(f"installed {manager.file}; `portico service start` starts it now")
    for hint in manager.hints:
        click.echo(f"  {hint}")


@service.command(short_help="End the service and take it away.")
@_own_option
def uninstall(own: bool) -> None:
    """End the service and take it away; the configuration file stays."""
    manager = _installed(own)
    manager.removing()
    try:
        manager.file.unlink()
    except OSError as error:
        raise PorticoError(SERVICE_REFUSED, f"{manager.file} cannot be removed: {error.strerror or error}") from None
    manager.removed()
    click.echo(f"removed {manager.file}")


def _told(name: str, done: str, words: str, tell: Callable[[ServiceManager], None]) -> click.Command:
    """A command that tells an installed service's manager one thing."""

    @click.command(name, help=words)
    @_own_option
    def told(own: bool) -> None:
        tell(_installed(own))
        click.echo(f"{done} {NAME}")

    return told


service.add_command(_told("start", "started", "Start the installed service.", lambda manager: manager.start()))
service.add_command(_told("stop", "stopped", "Stop the service until the next boot.", lambda manager: manager.stop()))
service.add_command(_told("restart", "restarted", "Stop and start the service.", lambda manager: manager.restart()))


@service.command(short_help="Say whether the service runs.")
@_own_option
def status(own: bool) -> int:
    """Say whether the service runs; the exit status is 0 if it does, 3 if not."""
    manager = _installed(own)
    state = manager.state()
    click.echo(f"{NAME} is {state} ({manager.file})")
    return 0 if state == "active" else _NOT_RUNNING


def _installed(own: bool) -> ServiceManager:
    manager = this_machine(own)
    if not manager.file.exists():
        raise PorticoError(SERVICE_MISSING, f"the service is not installed: there is no {manager.file}")
    return manager


def _checked(config: tuple[str, ...]) -> Program:
    """What a service of these files is to run. Raises PorticoError for what it could not start with."""
    from portico.cli.config.endpoints import entry_forwardings
    from portico.cli.config.paths import default_path

    files = [file.absolute() for file in config_files(config)]
    if not files:
        raise PorticoError(CONFIG_MISSING, f"there is no {default_path()}", fix="Name the file with --config.")
    setup = Setup.take({"config": tuple(map(str, files))}, {})  # a service has nobody's environment
    if setup.agent.authtoken is None:
        fix = "Run `portico config add-authtoken TOKEN`; a service sees nothing of your environment."
        raise PorticoError(AUTHTOKEN_MISSING, "the configuration file has no authtoken", fix=fix)
    setup.session()
    setup.trust().context()
    if not setup.entries:
        fix = "Add `endpoints`; see docs/reference/agent-config.md."
        raise PorticoError(OPTION_INVALID, "the configuration has no endpoint that could be started", fix=fix)
    for name, entry in setup.entries.items():
        entry_forwardings(name, entry)
    return Program((*_COMMAND, *(f"--config={file}" for file in files), *_logs(setup.agent)), _directory())


_COMMAND: Final = (sys.executable, "-P", "-m", "portico.cli.main", "start", "--all")
"""`-P` keeps what lies where the service runs from being taken for modules."""


def _logs(agent: "AgentKeys") -> tuple[str, ...]:
    """To the service manager's log, unless the file says otherwise."""
    where = () if agent.log is not None else ("--log=stdout",)
    return where if agent.log_format != "term" else (*where, "--log-format=logfmt")


def _directory() -> Path:
    try:
        directory = Path.cwd()
    except OSError:
        raise PorticoError(SERVICE_REFUSED, "the directory that you are in is gone", fix="Go to another.") from None
    return directory


def _write(manager: ServiceManager, program: Program) -> None:
    from portico.atomic_file import PUBLIC, write_atomically

    for text in (*program.arguments, str(program.directory)):
        if not text.isprintable():
            raise PorticoError(SERVICE_REFUSED, f"{text!r} has characters that no service's file can hold")
    try:
        manager.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(manager.file, manager.described(program), mode=PUBLIC)
    except OSError as error:
        fix = "Run it as root, or install a service of your own with --user."
        reason = f"{manager.file} cannot be written: {error.strerror or error}"
        raise PorticoError(SERVICE_REFUSED, reason, fix=fix) from None
    try:
        manager.added()
    except PorticoError:
        manager.file.unlink(missing_ok=True)
        raise
