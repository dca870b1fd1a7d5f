"""One Python child process of the edge, kept running: restarted with back-off when it dies."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 0.05
"""Seconds before the first restart: a crash should not be noticed."""
LAST_RETRY: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A child that lived this long starts again with the first delay."""


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

    def __init__(self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.restarts = 0
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def run(self) -> None:
        """Start the child and start it again whenever it ends, until `stop` is called."""
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while not self._stopping:
            started = loop.time()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
            log.debug("started", extra={"child": self.name, "pid": self._process.pid})
            status = await self._process.wait()
            if self._stopping:
                return
            delay = backoff.next_delay(loop.time() - started)
            self.restarts += 1
            log.error("child died; restarting", extra={"child": self.name, "status": describe(status), "in_s": delay})
            await asyncio.sleep(delay)

    async def stop(self, grace: float) -> None:
        """Ask the child to end; end it after `grace` seconds. It is not started again."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace)
            except TimeoutError:
                log.warning("child did not end in time", extra={"child": self.name, "grace_s": grace})
                process.kill()
                await process.wait()


def describe(status: int) -> str:
    """An exit status in words: `exit 1`, `SIGKILL`."""
    return f"exit {status}" if status >= 0 else signal.Signals(-status).name
