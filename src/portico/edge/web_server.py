"""A web server inside of control, for as long as a block runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    """A web server inside a process that has its own way with signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


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
        server.should_exit = True
        await task
