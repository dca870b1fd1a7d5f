"""How a command ends when something is wrong: one clear message with its code on standard error, and an exit status."""

import logging
import re
import sys
from pathlib import Path
from typing import Final

import click

from portico.model.errors import OPTION_INVALID, UPSTREAM_INVALID, URL_INVALID, PorticoError
from portico.version import __version__

log = logging.getLogger(__name__)

FAILED: Final = 1
USAGE: Final = 2
_INTEGER: Final = re.compile("is not a valid integer( range)?")
"""What click says of what it cannot read as a number; a person has typed no range."""
_USAGE_CODES: Final = (OPTION_INVALID, UPSTREAM_INVALID, URL_INVALID)


def report(error: BaseException) -> int:
    """Say what went wrong, and return the exit status. Never shows a traceback."""
    status = FAILED
    match error:
        case click.exceptions.Exit():
            status = error.exit_code
        case SystemExit():
            status = error.code if isinstance(error.code, int) else FAILED if error.code else 0
        case click.Abort() | KeyboardInterrupt():
            _say("stopped")
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            status = USAGE
        case click.UsageError():
            _say(f"{_usage_message(error)} ({OPTION_INVALID})", _help_hint(error))
            status = USAGE
        case click.ClickException():
            _say(f"{_sentence(error.format_message())} ({OPTION_INVALID})")
        case PorticoError():
            _say_problem(error)
            status = USAGE if error.code in _USAGE_CODES else FAILED
        case BrokenPipeError():
            pass  # whoever read our output has gone; there is nobody to tell
        case _:
            _say_unexpected(error)
    return status


def warn(text: str) -> None:
    """A line on standard error about something that works but should be done otherwise."""
    click.echo(f"warning: {text}", err=True)


def _say(*lines: str) -> None:
    click.echo("error: " + "\n  ".join(line for line in lines if line), err=True)


def _say_problem(error: PorticoError) -> None:
    first, *rest = error.message.splitlines() or [""]
    if not rest:
        _say(f"{first} ({error.code})", error.fix)
    else:
        _say(f"{error.code.title.lower()} ({error.code})", first, *rest)


def _usage_message(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"there is no flag {error.option_name}{_nearest(error.possibilities)}"
    return _INTEGER.sub("is not a whole number", _sentence(error.format_message()))


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return text[:1].lower() + text[1:]


def _nearest(possibilities: object) -> str:
    near = list(possibilities) if isinstance(possibilities, list | tuple) else []
    return f"; did you mean {near[0]}?" if near else ""


def _help_hint(error: click.UsageError) -> str:
    return f"See `{error.ctx.command_path} --help`." if error.ctx else "See `portico --help`."


def _say_unexpected(error: BaseException) -> None:
    """A fault of ours: the details go into a file, one line to the person."""
    import tempfile
    import traceback

    details = "".join(traceback.format_exception(error))
    log.debug("unexpected error", exc_info=error)
    with tempfile.NamedTemporaryFile(
        "w", prefix="portico-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
    ) as file:
        file.write(f"portico {__version__}, Python {sys.version}\n{details}")
    _say(
        f"portico failed unexpectedly ({type(error).__name__}); the details are in {Path(file.name)}",
        "Please report it with that file; CONTRIBUTING.md says where.",
    )
