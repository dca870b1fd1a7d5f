"""Web servers inside of control, for as long as a block runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send


class _Server(uvicorn.Server):
    """A web server inside a process that has its own way with signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Let `serve` finish what is under way and return."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Wait for the end: uvicorn's own looks for it ten times a second. Each second answers get another date."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class OnFirstRequest:
    """An application that its first request makes, in a thread: a start need not wait for what few edges are asked."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the first ones wait for the application."""
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, *, host: str = "", port: int = 0, uds: str | None = None) -> AsyncIterator[None]:
    """Serve `app` on an address or a Unix socket."""
    config = uvicorn.Config(
        app, host=host, port=port, uds=uds, log_config=None, lifespan="off", access_log=False, server_header=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(), name=f"web-{uds or port}")
    try:
        yield
    finally:
        server.end()
        await task
