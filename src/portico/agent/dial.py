"""Connects to an upstream: TCP, TLS, Unix socket or own directory; every failure becomes a reason and a sentence."""

import asyncio
import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from portico.agent.dial_reason import NO_HTTP2, DialError, explain
from portico.agent.hand_over import hand_over
from portico.agent.names import resolve
from portico.agent.upstream import Upstream, UpstreamScheme
from portico.agent.upstream_tls import UNVERIFIED, UpstreamTls

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds for name, connection and TLS handshake together."""


class Dialer:
    """Connects to one upstream, as often as asked."""

    def __init__(
        self,
        upstream: Upstream,
        tls: UpstreamTls = UNVERIFIED,
        *,
        protocols: tuple[str, ...] = (),
        timeout: float = DEFAULT_TIMEOUT,
        files: Callable[[], socket.socket] | None = None,
    ) -> None:
        """`protocols` is the ALPN offer; `files` opens a connection to the server of a `file://` upstream.

        Raises PorticoError(OPTION_INVALID, CERTIFICATE_INVALID) where `tls` cannot be met.
        """
        if not upstream.uses_tls:
            tls.refuse_without_tls(str(upstream))
        self.upstream = upstream
        self.tls = tls
        self._timeout = timeout
        self._files = files
        self._context = tls.context(protocols) if upstream.uses_tls else None
        self._needs_http2 = protocols == ("h2",) and upstream.uses_tls
        self._server_name = tls.server_name or upstream.host

    async def connect(self, factory: Callable[[], ProtocolT], preface: bytes = b"") -> ProtocolT:
        """A connected protocol of `factory`; `preface` (a PROXY header) goes before any TLS. Raises DialError."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect(factory, preface)
        except DialError:
            raise
        except (OSError, ssl.SSLError, TimeoutError) as error:
            reason, words = explain(error)
            raise DialError(reason, f"{self.upstream}: {words}") from error

    async def _connect(self, factory: Callable[[], ProtocolT], preface: bytes) -> ProtocolT:
        sock = await self._open()
        if preface:
            try:
                await asyncio.get_running_loop().sock_sendall(sock, preface)
            except BaseException:
                sock.close()
                raise
        server_name = self._server_name if self._context else None
        transport, protocol = await hand_over(sock, factory, self._context, server_name)
        if self._needs_http2:
            _check_http2(transport, str(self.upstream))
        return protocol

    async def _open(self) -> socket.socket:
        upstream = self.upstream
        if upstream.scheme is UpstreamScheme.FILE:
            assert self._files is not None
            return self._files()
        if upstream.scheme is UpstreamScheme.UNIX:
            return await open_socket(socket.AF_UNIX, upstream.path)
        failure: OSError | None = None
        for family, address in await resolve(upstream.host, upstream.port):
            try:
                return await open_socket(family, address)
            except OSError as error:
                failure = failure or error
        assert failure is not None
        raise failure


def _check_http2(transport: asyncio.Transport, upstream: str) -> None:
    """HTTP/2 over TLS is agreed upon by ALPN (RFC 9113 section 3.2); without it the bytes would be misread."""
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    if tls.selected_alpn_protocol() != "h2":
        transport.abort()
        reason, words = NO_HTTP2
        raise DialError(reason, f"{upstream}: {words}")


async def open_socket(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "nt" or family == socket.AF_UNIX or "%" in address[0]:  # a scope, which only the loop reads
            await asyncio.get_running_loop().sock_connect(sock, address)
        else:
            await _connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: tuple[str, int] | str) -> None:
    """What `sock_connect` does, which in uvloop (0.23) takes even an IP address through the resolver's threads."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS and sys.platform == "linux":
        error = sock.connect_ex(address)  # on this machine it is done by now, and says so
    if error in (errno.EINPROGRESS, errno.EALREADY):
        await _writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _settle, writable)
    try:
        await writable
    finally:
        loop.remove_writer(sock)


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
