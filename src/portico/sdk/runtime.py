"""The thread beside the program: one event loop that carries all sessions, for async and blocking callers alike."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from portico.model.errors import SESSION_CLOSED, PorticoError

T = TypeVar("T")

_STOP_SECONDS = 5.0


class _Done:
    """An awaitable that has nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


DONE = _Done()


class Runtime:
    """An event loop in a daemon thread. Belongs to the process that made it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = _new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="portico", daemon=True)
        self._thread.start()

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one whose thread this is: the thread did not come along."""
        return self._pid != os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` in the background thread.

        Without a running event loop: wait for it and return its result. Inside a running event loop: return at once an
        asyncio.Task for it, to be awaited; the type says T so that both ways of calling check.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return self.run_blocking(coroutine)
        if running is self._loop:
            return cast("T", running.create_task(coroutine))
        future = self._submit(coroutine)
        return cast("T", running.create_task(_settle(future)))

    def do(self, coroutine: Coroutine[Any, Any, None]) -> Awaitable[None]:
        """As `run`, for what has no result: in plain code the awaitable that is returned is done."""
        return self.run(coroutine) or DONE

    def run_blocking(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run `coroutine` in the background thread and wait for its result, at most `timeout` seconds."""
        future = self._submit(coroutine)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread. Close the sessions before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        if self.inherited:
            coroutine.close()
            raise PorticoError(
                SESSION_CLOSED,
                "this process is a fork; sessions stay with the process that opened them",
                fix="Call portico.forward in the process that serves, after the fork.",
            )
        if self._loop.is_closed():
            coroutine.close()
            raise PorticoError(SESSION_CLOSED, "the listener's session is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


async def _settle(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
