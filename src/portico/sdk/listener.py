"""A listener: one endpoint that this process serves, usable from blocking and from async code."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM
from socket import socket as Socket  # noqa: N812 - `Listener.socket` hides the module's name
from typing import Any

from portico.agent.agent import AgentEndpoint
from portico.agent.upstream import Upstream, UpstreamScheme, parse_upstream
from portico.model.errors import OPTION_INVALID, PorticoError
from portico.sdk.runtime import Runtime

_BACKLOG = 1024


class ListeningSocket:
    """A Unix socket in a directory that only this user can enter; visitors' connections arrive on it."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="portico-")
        self.path = str(Path(self._directory) / "visitors.sock")
        self.socket = Socket(AF_UNIX, SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(_BACKLOG)

    @property
    def upstream(self) -> Upstream:
        """The socket as an upstream."""
        return Upstream(UpstreamScheme.UNIX, path=self.path)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self.socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class Listener:
    """An endpoint that is online.

    Methods that talk to the edge (`close`, `forward`, `join`) block in plain code, and are to be awaited inside a
    running event loop, like `portico.forward` itself. A listener may be awaited and gives itself, so that
    `await portico.forward(…)` type-checks.
    """

    def __init__(
        self,
        runtime: Runtime,
        endpoint: AgentEndpoint,
        accepting: ListeningSocket | None,
        closed: Callable[["Listener"], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._endpoint = endpoint
        self._accepting = accepting
        self._closed = closed

    def __await__(self) -> Generator[Any, None, "Listener"]:
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"<Listener {self.url() or self.labels()} -> {self.forwards_to()}>"

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._runtime.run_blocking(self._close())

    async def __aenter__(self) -> "Listener":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runtime.do(self._close())

    def url(self) -> str:
        """The public URL; empty for labelled listeners."""
        return self._endpoint.url

    def id(self) -> str:
        """The id that the edge knows it by."""
        return self._endpoint.id

    def proto(self) -> str:
        """http, https, tls or tcp; empty for labelled listeners."""
        return self._endpoint.proto

    def forwards_to(self) -> str:
        """What people are shown as its upstream."""
        return self._endpoint.request.forwards_to

    def metadata(self) -> str:
        """The metadata it was started with."""
        return self._endpoint.request.metadata

    def labels(self) -> dict[str, str]:
        """The labels it was started with."""
        return dict(self._endpoint.request.labels)

    def close(self) -> Awaitable[None]:
        """Take the endpoint offline. Closing again does nothing."""
        return self._runtime.do(self._close())

    def forward(self, addr: str | int) -> Awaitable[None]:
        """Send visitors to `addr` from now on. Raises PorticoError(UPSTREAM_INVALID)."""
        upstream = parse_upstream(addr, http=self._endpoint.request.kind.is_http)
        return self._runtime.do(self._forward(upstream))

    def join(self) -> Awaitable[None]:
        """Wait until the endpoint is closed. Raises PorticoError where the edge ended it."""
        return self._runtime.do(self._endpoint.wait_closed())

    # As a listening socket, for servers that take one.

    @property
    def socket(self) -> Socket:
        """The listening Unix socket, for servers that take one.

        Raises PorticoError(OPTION_INVALID) where the listener is not one of `portico.listen`.
        """
        if self._accepting is None:
            raise PorticoError(
                OPTION_INVALID,
                "this listener forwards to an address and has no socket",
                fix="Use portico.listen() for a listener that accepts connections.",
            )
        return self._accepting.socket

    def fileno(self) -> int:
        """File descriptor of `socket`."""
        return self.socket.fileno()

    def getsockname(self) -> str:
        """Path of `socket`."""
        return str(self.socket.getsockname())

    def accept(self) -> tuple[Socket, object]:
        """Wait for a visitor's connection, as `socket.accept`."""
        return self.socket.accept()

    async def __aiter__(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Visitors' connections as asyncio streams, until the listener is closed."""
        loop = asyncio.get_running_loop()
        over = asyncio.ensure_future(self.join())
        # A descriptor of its own: an event loop does not notice when the one that it watches is closed elsewhere.
        accepting = self.socket.dup()
        accepting.setblocking(False)
        try:
            while not over.done():
                arrival = asyncio.ensure_future(loop.sock_accept(accepting))
                try:
                    await asyncio.wait((arrival, over), return_when=asyncio.FIRST_COMPLETED)
                    if arrival.done():
                        yield await asyncio.open_unix_connection(sock=arrival.result()[0])
                finally:
                    arrival.cancel()
            await over
        finally:
            over.cancel()
            accepting.close()

    @property
    def closed(self) -> bool:
        """Whether it is offline for good."""
        return self._endpoint.closed

    async def _close(self) -> None:
        await self._endpoint.close()
        if self._accepting is not None:
            self._accepting.close()
        await self._closed(self)

    async def _forward(self, upstream: Upstream) -> None:
        self._endpoint.forward_to(upstream)
