"""What an agent in the foreground shows: the live status screen on a terminal, log lines everywhere else."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from portico import logs
from portico.model.errors import CONFIG_MISSING, PorticoError

if TYPE_CHECKING:
    from rich.live import Live

    from portico.agent.agent import Agent
    from portico.cli.config.models import AgentKeys

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "crit": logging.CRITICAL,
}
_STREAMS: Final = ("stdout", "stderr")
_REDRAW_SECONDS: Final = 0.1
"""No more than ten pictures a second."""
_IDLE_SECONDS: Final = 1.0


class Console(Protocol):
    """Where people see what an agent does."""

    web: str
    """URL of the local web interface; empty where it does not run."""

    def changed(self) -> None:
        """Something that may be shown is different now."""

    @asynccontextmanager
    def showing(self, agent: "Agent") -> AsyncIterator[None]:
        """While in here, show what `agent` does."""


@contextmanager
def console_for(keys: "AgentKeys") -> Iterator[Console]:
    """The screen or log lines, as settings and terminal decide. Raises PorticoError for a log file that cannot be."""
    wants_screen = keys.console_ui == "true" or (keys.console_ui == "iftty" and sys.stdout.isatty())
    screen = wants_screen and keys.log not in _STREAMS
    target = keys.log if keys.log is not None else "false" if screen else "stdout"
    with ExitStack() as stack:
        _log_to(target, keys, stack)
        yield Screen() if screen else LogLines()


def _log_to(target: str, keys: "AgentKeys", stack: ExitStack) -> None:
    logging.raiseExceptions = False  # whoever read our log may be gone; that is no reason for tracebacks
    if target == "false":
        logging.getLogger().handlers[:] = [logging.NullHandler()]
        return
    stream = {"stdout": sys.stdout, "stderr": sys.stderr}.get(target) or stack.enter_context(_log_file(target))
    form: logs.LogFormat = "logfmt" if keys.log_format == "term" and not stream.isatty() else keys.log_format
    logs.configure(stream, level=_LEVELS[keys.log_level], form=form)


def _log_file(name: str) -> TextIO:
    path = Path(name).expanduser()
    try:
        return path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise PorticoError(
            CONFIG_MISSING,
            f"the log file {path} cannot be written: {error.strerror}",
            fix="Name another one with --log.",
        ) from None


class LogLines:
    """No screen: the log says it all."""

    web = ""

    def changed(self) -> None:
        """The log line has been written where it happened."""

    @asynccontextmanager
    async def showing(self, agent: "Agent") -> AsyncIterator[None]:
        """Nothing to do."""
        yield


class Screen:
    """Draws the status screen on the terminal's other screen, and gives the terminal back as it was."""

    def __init__(self) -> None:
        self.web = ""
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """Draw soon."""
        self._dirty.set()

    @asynccontextmanager
    async def showing(self, agent: "Agent") -> AsyncIterator[None]:
        """Draw until the end, whatever that is."""
        from rich.console import Console as Terminal
        from rich.live import Live

        forget = agent.inspector.subscribe(lambda _: self.changed()) if agent.inspector else lambda: None
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            stack.callback(forget)
            stack.enter_context(_silent_keyboard())
            live = stack.enter_context(Live(console=Terminal(), screen=True, auto_refresh=False))
            with suppress(NotImplementedError, AttributeError):  # Windows has no SIGWINCH
                loop.add_signal_handler(signal.SIGWINCH, self.changed)
                stack.callback(loop.remove_signal_handler, signal.SIGWINCH)
            drawing = asyncio.create_task(self._draw(agent, live), name="portico screen")
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)

    async def _draw(self, agent: "Agent", live: "Live") -> None:
        from portico.cli.picture import picture_of
        from portico.cli.screen import draw

        while True:
            self._dirty.clear()
            width, height = live.console.size
            live.update(draw(picture_of(agent, self.web), width, height), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._dirty.wait()
            await asyncio.sleep(_REDRAW_SECONDS)


@contextmanager
def _silent_keyboard() -> Iterator[None]:
    """Keys typed while the screen is shown leave no trace on it; Ctrl-C still is a signal."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] = int(silent[3]) & ~termios.ECHO  # index 3: local modes
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
