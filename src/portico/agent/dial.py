"""Connects to an upstream: TCP, TLS, Unix socket or own directory; every failure becomes a reason and a sentence."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from portico.agent.names import resolve
from portico.agent.upstream import Upstream, UpstreamScheme
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds for name, connection and TLS handshake together."""


class DialReason(StrEnum):
    """Why an upstream could not be reached."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    NAME_NOT_FOUND = "name-not-found"
    UNREACHABLE = "unreachable"
    NO_SOCKET = "no-socket"
    NOT_PERMITTED = "not-permitted"
    CLOSED = "closed"
    NOT_TLS = "not-tls"
    TLS_UNTRUSTED = "tls-untrusted"
    TLS_WRONG_NAME = "tls-wrong-name"
    TLS_EXPIRED = "tls-expired"
    TLS_CLIENT_CERTIFICATE = "tls-client-certificate"
    TLS_FAILED = "tls-failed"
    FAILED = "failed"


class DialError(Exception):
    """An upstream could not be reached: `reason` for programs, `text` for people."""

    def __init__(self, reason: DialReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How much an agent asks of an upstream's certificate; nothing by default, as ngrok does."""

    verify: bool = False
    authorities: str | None = None
    """PEM of the CAs to trust instead of the system's; implies `verify`."""
    server_name: str | None = None
    """Name to ask for and to check, where it is not the upstream's host."""

    def context(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """A client context that offers `protocols` by ALPN. Raises PorticoError(CERTIFICATE_INVALID)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if not self.verify and self.authorities is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.authorities is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(cadata=self.authorities)
            except (ssl.SSLError, ValueError) as error:
                raise PorticoError(CERTIFICATE_INVALID, f"the upstream's CAs cannot be read: {error}") from None
        return context


class Dialer:
    """Connects to one upstream, as often as asked."""

    def __init__(
        self,
        upstream: Upstream,
        tls: UpstreamTls = UpstreamTls(),
        *,
        protocols: tuple[str, ...] = (),
        timeout: float = DEFAULT_TIMEOUT,
        files: Callable[[], socket.socket] | None = None,
    ) -> None:
        """`protocols` is the ALPN offer; `files` opens a connection to the server of a `file://` upstream."""
        self.upstream = upstream
        self.tls = tls
        self._timeout = timeout
        self._files = files
        self._context = tls.context(protocols) if upstream.uses_tls else None
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
        loop = asyncio.get_running_loop()
        sock = await self._open()
        try:
            if preface:
                await loop.sock_sendall(sock, preface)
            if sock.family is getattr(socket, "AF_UNIX", None):
                _, protocol = await loop.create_unix_connection(factory, sock=sock)
                return protocol
            server_name = self._server_name if self._context else None
            _, protocol = await loop.create_connection(
                factory, sock=sock, ssl=self._context, server_hostname=server_name
            )
        except BaseException:
            sock.close()
            raise
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


async def open_socket(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        if family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


# OpenSSL's X509_V_ERR_* numbers, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_EXPIRED: Final = frozenset({9, 10})
_WRONG_NAME: Final = frozenset({62, 64})
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
_ERRNO_REASONS: Final = {
    errno.ECONNREFUSED: (DialReason.REFUSED, "connection refused"),
    errno.ENETUNREACH: (DialReason.UNREACHABLE, "the network is unreachable"),
    errno.EHOSTUNREACH: (DialReason.UNREACHABLE, "the host is unreachable"),
    errno.EADDRNOTAVAIL: (DialReason.UNREACHABLE, "the address is not available"),
    errno.ENOENT: (DialReason.NO_SOCKET, "there is no such socket"),
    errno.EACCES: (DialReason.NOT_PERMITTED, "permission denied"),
    errno.EPERM: (DialReason.NOT_PERMITTED, "permission denied"),
    errno.ECONNRESET: (DialReason.CLOSED, "the connection was reset"),
    errno.EPIPE: (DialReason.CLOSED, "the connection was closed"),
    errno.ETIMEDOUT: (DialReason.TIMEOUT, "no answer in time"),
}


def explain(error: OSError | ssl.SSLError | TimeoutError) -> tuple[DialReason, str]:
    """Why a connection failed, for programs and for people."""
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, socket.gaierror):
        return DialReason.NAME_NOT_FOUND, "the name is not known"
    known = _ERRNO_REASONS.get(error.errno or 0)
    if known is not None:
        return known
    if isinstance(error, TimeoutError):
        return DialReason.TIMEOUT, "no answer in time"
    if isinstance(error, ConnectionError):
        return DialReason.CLOSED, "the connection was closed"
    return DialReason.FAILED, error.strerror or str(error) or type(error).__name__


def _tls_reason(error: ssl.SSLError) -> tuple[DialReason, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return DialReason.TLS_EXPIRED, f"its certificate is not valid now ({error.verify_message})"
        if error.verify_code in _WRONG_NAME:
            return DialReason.TLS_WRONG_NAME, f"its certificate is for another name ({error.verify_message})"
        return DialReason.TLS_UNTRUSTED, f"its certificate is not trusted ({error.verify_message})"
    cause = error.reason or ""
    if cause in _NOT_TLS:
        return DialReason.NOT_TLS, "it does not speak TLS"
    if "ALERT" in cause and ("CERTIFICATE" in cause or "UNKNOWN_CA" in cause):
        return DialReason.TLS_CLIENT_CERTIFICATE, "it demands a client certificate"
    return DialReason.TLS_FAILED, f"the TLS handshake failed ({cause.lower().replace('_', ' ') or error})"
