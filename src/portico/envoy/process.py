"""The Envoy process: start, become live, hand over to a successor, stop."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portico.envoy import launch
from portico.envoy.admin import Admin, AdminError
from portico.envoy.bootstrap import BootstrapSettings, bootstrap
from portico.envoy.predecessors import Lingering, StandIn, end, parent_socket
from portico.envoy.visitors_lines import VisitorsLines
from portico.model.errors import EDGE_NOT_READY, ENVOY_MISSING, PorticoError

log = logging.getLogger(__name__)
envoy_log = logging.getLogger("envoy")

_LEVELS: Final = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_LOG_FORMAT: Final = '{"level":"%l","component":"%n","message":"%j"}'
_NOISE: Final = (
    "marked as work-in-progress",  # of the server name matcher, twice for each change of a listener
    "request size exceeds maximum",  # an error to Envoy, but every visitor's to write
)
_LAST_WORDS: Final = ("caught ENVOY_SIGTERM", "config stream to ads closed")
"""Warnings of an Envoy that is stopped; of one that is to serve they are news."""
_POLL: Final = 0.02
_LINE_LIMIT: Final = 1 << 20
_TUNABLES: Final = "GLIBC_TUNABLES"
_NO_RSEQ: Final = "glibc.pthread.rseq=0"
"""Envoy's allocator keeps a cache for each processor only where it may register restartable sequences itself, and glibc
2.35 or later would be first (https://google.github.io/tcmalloc/rseq.html). 1.8 % of the CPU of a kept request."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How Envoy runs on this node."""

    binary: Path
    run_dir: Path
    """For its sockets and files; a socket's path may have 107 bytes at most."""
    bootstrap: BootstrapSettings
    concurrency: int | None = None
    """Worker threads; None for one a core."""
    drain_seconds: int = 60
    """How long connections of a replaced filter chain may go on. Envoy also keeps each replaced listener's
    configuration this long: 1.6 MB a change with 10,000 names that it tells apart by SNI."""
    parent_shutdown_seconds: int = 900
    """How long a predecessor lives after a hot restart; longer than `drain_seconds`. After one more restart it begins
    anew for it, but then it ends as soon as nobody is connected to it."""
    log_level: str = "warning"
    shares_stdout: bool = False
    """Whether Envoy's standard output is ours, for an access log that goes there."""


class EnvoyProcess:
    """One Envoy after another: at most one is current, and after a hot restart its predecessors drain beside it."""

    def __init__(self, settings: ProcessSettings, *, on_exit: Callable[[int], None] | None = None) -> None:
        self._settings = settings
        self._on_exit = on_exit
        self._epoch = 0
        self._current: asyncio.subprocess.Process | None = None
        self._draining: list[asyncio.subprocess.Process] = []
        self._lingering = Lingering(settings.parent_shutdown_seconds)
        """Those of the draining whose own successor is not in charge any more."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._live = False
        self._replacing = asyncio.Lock()
        self._lines = {"policy": VisitorsLines(rate=200, burst=1000, longest=4096)}
        """Lines that visitors cause, by component; a policy says itself which it wants."""
        self._visitors_lines = VisitorsLines()

    @property
    def admin(self) -> Admin:
        """The admin interface of the current Envoy."""
        return Admin(self._path("admin.sock"))

    @property
    def pid(self) -> int | None:
        """Process id of the current Envoy; None when there is none."""
        return self._current.pid if self._current else None

    async def start(self, timeout: float = 60.0) -> None:
        """Start Envoy and return when it is live, which needs an ADS server that answers. `timeout` is in seconds.

        `on_exit(returncode)` of the constructor is called when a live Envoy ends without being asked to; then `start`
        may be called again. Raises PorticoError(ENVOY_MISSING) and (EDGE_NOT_READY).
        """
        if (orphan := self._parent()) is not None:
            await self._lingering.add(orphan, None)
        self._epoch = 0
        self._drop_shared_memory()
        # Another Envoy on this machine may have any number, so that Envoy itself must choose a free one.
        await self._spawn("--use-dynamic-base-id", "--base-id-path", str(self._base_id_path))
        await self._until_live(timeout)

    async def hot_restart(self, timeout: float = 60.0) -> None:
        """Put a new Envoy in the place of the current one, which hands over its listening sockets and then drains.

        The old one stays in charge when the new one does not become live; when it has died meanwhile, `on_exit` tells
        of it. Raises like `start`.
        """
        async with self._replacing:
            old = self._current
            if old is None:
                raise PorticoError(EDGE_NOT_READY, "There is no Envoy to restart")
            base_id = self._base_id_path.read_text().strip()
            if self._epoch:
                stand_in = StandIn(parent_socket(self._socket_prefix, int(base_id), self._epoch - 1))
                await self._lingering.add(self._parent(), stand_in)
            self._epoch += 1
            self._draining.append(old)
            self._live = False
            await self._spawn("--base-id", base_id, "--restart-epoch", str(self._epoch))
            await self._until_live(timeout)

    def reopen_logs(self) -> None:
        """Open the access log's file anew, after it was renamed; Envoys that drain do so too."""
        if self._live:
            for process in (self._current, *self._draining):
                if process is not None and process.returncode is None:
                    process.send_signal(signal.SIGUSR1)

    async def stop(self, grace: float = 0.0) -> None:
        """Ask visitors' connections to end, wait at most `grace` seconds until none is open, and end every Envoy."""
        self._live = False
        if grace > 0 and self._current is not None:
            try:
                async with asyncio.timeout(grace):
                    await self.admin.drain_listeners()
                    while await self.admin.open_connections():
                        await asyncio.sleep(_POLL)
            except (AdminError, TimeoutError):
                pass
        await self._lingering.end()
        await asyncio.gather(*(end(process) for process in [self._current, *self._draining] if process))
        await asyncio.gather(*self._tasks)
        self._current = None
        self._drop_shared_memory()

    def _drop_shared_memory(self) -> None:
        """Envoy leaves the segment that hot restart uses behind, one for each base id."""
        try:
            base_id = int(self._base_id_path.read_text())
        except (OSError, ValueError):
            return
        self._base_id_path.unlink()
        for path in self._socket_prefix.parent.glob(f"{self._socket_prefix.name}_*"):
            path.unlink()
        Path(f"/dev/shm/envoy_shared_memory_{base_id * 10}").unlink(missing_ok=True)  # noqa: S108 - Envoy's own name

    def _parent(self) -> asyncio.subprocess.Process | None:
        """The Envoy before the current one, if it still lives."""
        return next((one for one in reversed(self._draining) if one not in self._lingering), None)

    @property
    def _base_id_path(self) -> Path:
        return self._settings.run_dir / "envoy.base-id"

    @property
    def _socket_prefix(self) -> Path:
        """Of the sockets over which one Envoy speaks to the next: of files, so that a stand-in can take their place."""
        return self._settings.run_dir / "hot"

    def _path(self, name: str) -> Path:
        return self._settings.run_dir / f"envoy-{self._epoch}.{name}"

    async def _spawn(self, *identity: str) -> None:
        settings = self._settings
        config = self._path("json")
        config.write_text(json.dumps(bootstrap(settings.bootstrap, self._path("admin.sock"))))
        arguments = ["--config-path", str(config), *identity, "--socket-path", str(self._socket_prefix)]
        arguments += ["--drain-time-s", str(settings.drain_seconds), "--drain-strategy", "immediate"]
        arguments += ["--parent-shutdown-time-s", str(settings.parent_shutdown_seconds)]
        # Lines about visitors are written at once, like Envoy's own: it would keep them for 10 s.
        arguments += ["--file-flush-interval-msec", "200"]
        arguments += ["--log-level", settings.log_level, "--log-format", _LOG_FORMAT]
        if settings.concurrency is not None:
            arguments += ["--concurrency", str(settings.concurrency)]
        if not os.access(settings.binary, os.X_OK):
            raise PorticoError(ENVOY_MISSING, f"{settings.binary} is not a program that can be run")
        process = await asyncio.create_subprocess_exec(
            *launch.prefix(),
            settings.binary,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None if settings.shares_stdout else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env=os.environ | {_TUNABLES: ":".join(filter(None, (os.environ.get(_TUNABLES), _NO_RSEQ)))},
            start_new_session=True,  # a Ctrl-C in the terminal is ours to act on
        )
        self._current = process
        task = asyncio.create_task(self._follow(process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_live(self, timeout: float) -> None:
        process = self._current
        assert process is not None
        try:
            async with asyncio.timeout(timeout):
                while process.returncode is None:
                    if await self._is_ready():
                        self._live = True
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            await self._give_up(process)
            raise PorticoError(EDGE_NOT_READY, f"Envoy was not live within {timeout:g} s") from None
        await self._give_up(process)
        raise PorticoError(EDGE_NOT_READY, f"Envoy ended with status {process.returncode} before it was live")

    async def _give_up(self, process: asyncio.subprocess.Process) -> None:
        self._current = None
        await end(process)
        if self._epoch and self._draining:
            self._current = self._draining.pop()
            self._live = True
            self._epoch -= 1
            return
        self._drop_shared_memory()
        if self._epoch and self._on_exit is not None:
            self._on_exit(process.returncode or 0)

    async def _is_ready(self) -> bool:
        try:
            return await self.admin.ready()
        except AdminError:
            return False

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Hand its log on until it ends, and tell of its end."""
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than the limit; the rest is read as the next line
                continue
            if not line:
                break
            self._log_line(line, process.pid)
        returncode = await process.wait()
        if process in self._draining:
            self._draining.remove(process)
            if returncode != 0 and not self._live and self._current is not None:
                # Nobody hands over the sockets any more, and Envoy asks a dead predecessor for ever.
                log.error(
                    "envoy ended before its successor took over", extra={"pid": process.pid, "status": returncode}
                )
                with contextlib.suppress(ProcessLookupError):
                    self._current.kill()
        elif process is self._current and self._live:
            self._current, self._live = None, False
            log.error("envoy ended", extra={"pid": process.pid, "status": returncode})
            if self._on_exit is not None:
                self._on_exit(returncode)

    def _log_line(self, line: bytes, pid: int) -> None:
        text = line.decode(errors="replace").rstrip()
        try:
            record: Any = json.loads(text)
            level, message = _LEVELS[record["level"]], record["message"]
            facts = {"component": record["component"], "pid": pid}
            told = record.get("facts")
        except (ValueError, KeyError, TypeError, AttributeError):
            level, message, facts, told = logging.WARNING, text, {"pid": pid}, None
        if told is not None:
            visitors = self._lines.get(facts["component"], self._visitors_lines).admitted(told)
            if visitors is None:
                return
            facts |= visitors
        if any(noise in message for noise in (_NOISE if self._live else (*_NOISE, *_LAST_WORDS))):
            level = logging.DEBUG
        if message:
            envoy_log.log(level, "%s", message, extra=facts)
