"""One Python child process of the edge, kept running: restarted with back-off when it dies."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from portico.envoy import launch

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 0.05
"""Seconds before the first restart: a crash should not be noticed."""
LAST_RETRY: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A child that lived this long starts again with the first delay."""
FATAL_STATUS: Final = 78
"""EX_CONFIG of sysexits.h: starting again would end the same way; the child has said why."""


class Backoff:
    """Delays between restarts: doubling from FIRST_RETRY to LAST_RETRY, forgotten after a steady life."""

    def __init__(self) -> None:
        self._delay = FIRST_RETRY

    def next_delay(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        if lived >= STEADY_SECONDS:
            self._delay = FIRST_RETRY
        delay, self._delay = self._delay, min(self._delay * 2, LAST_RETRY)
        return delay


class Child:
    """`python -m module …`, supervised. Its log lines go to our own standard error as they are."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        on_start: Callable[[], None],
        inherited: tuple[int, ...] = (),
    ) -> None:
        """`inherited`: file descriptors that the child gets as they are."""
        self.name = name
        self._command = [*launch.prefix(), sys.executable, "-m", module, *arguments]
        self._environment = dict(environment)
        self._on_start = on_start
        self._inherited = inherited
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Start the child, and again whenever it ends; returns after `stop`, or when it ended with FATAL_STATUS."""
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while not self._stopping:
            started = loop.time()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=self._inherited,
                start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to act on
            )
            self._on_start()
            status = await self._process.wait()
            if self._stopping or status == FATAL_STATUS:
                return
            delay = backoff.next_delay(loop.time() - started)
            log.error("child died; restarting", extra={"child": self.name, "status": describe(status), "in_s": delay})
            await asyncio.sleep(delay)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace: float) -> None:
        """Ask the child to end; end it after `grace` seconds. It is not started again."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            log.warning("child did not end in time", extra={"child": self.name, "grace_s": grace})
            process.kill()
            await process.wait()


def describe(status: int) -> str:
    """An exit status in words: `exit 1`, `SIGKILL`."""
    return f"exit {status}" if status >= 0 else signal.Signals(-status).name
