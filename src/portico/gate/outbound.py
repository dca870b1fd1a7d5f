"""Requests to the world outside, none of them to where policies have no business.

What is asked is named by authors of policies, so an address is looked at before it is dialled: only public ones, and
those that the setting `policy_networks` opens. The name is looked up once, here, and what was found is dialled.
"""

import asyncio
import socket
import ssl
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final

import httpx

from portico.gate.reach import Reach
from portico.version import __version__

MOST_BYTES: Final = 262_144
"""Of a body, decoded (ngrok's http-request has the same bound)."""
_MOST_ORIGINS: Final = 64
"""Hosts whose connections are kept."""
_ADDRESS: Final = "portico_address"
_INNER: Final = "portico_inner"
_CLASS_HEADER, _HOST_HEADER = "x-edge-class", "x-edge-host"
"""By which Envoy finds an internal endpoint (`translate/names.py`)."""
_PORTS: Final = {"http": 80, "https": 443}
_MOST_PORT: Final = 65_535


class OutboundError(Exception):
    """No answer came; the text says why, in words for the endpoint's owner."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    url: str
    """Where it came from, after redirects."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    address: str
    """IP that answered."""
    seconds: float


class Outbound:
    """Sends requests, keeping connections. TLS is verified against the system's authorities and the edge's own."""

    def __init__(self, reach: Reach, edge_ca: Path | None = None, internal: str = "") -> None:
        """`internal`: Envoy's Unix socket for requests to internal endpoints."""
        context = ssl.create_default_context()
        if edge_ca is not None and edge_ca.exists():
            context.load_verify_locations(edge_ca)
        self._transport = _Transport(reach, context, internal)
        agent = {"user-agent": f"portico/{__version__}", "accept-encoding": "identity"}
        # What one owner's policy is given as a cookie is no other's. Only `seconds` ends a request.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._sender = httpx.AsyncClient(
            transport=self._transport, trust_env=False, headers=agent, cookies=no_cookies, timeout=httpx.Timeout(None)
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        parameters: Sequence[tuple[str, str]] = (),
        redirects: int = 0,
        seconds: float = 10.0,
        inner: str = "",
    ) -> Answer:
        """The answer. Raises OutboundError where none came in time, was too large, or may not be asked for.

        `inner` is the class of requests to internal endpoints (`questions.Errand`).
        """
        try:
            async with asyncio.timeout(seconds):
                request = self._request(method, url, dict(headers or {}), content, parameters, inner)
                return await self._send(request, redirects)
        except TimeoutError:
            raise OutboundError(f"no answer within {seconds:g} s") from None
        except (httpx.InvalidURL, UnicodeError):
            raise OutboundError("this is no URL of http or https") from None
        except httpx.HTTPError as error:
            raise OutboundError(_words(error)) from None

    async def close(self) -> None:
        """End all connections."""
        await self._sender.aclose()

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes,
        parameters: Sequence[tuple[str, str]],
        inner: str,
    ) -> httpx.Request:
        target = httpx.URL(url)
        for key, value in parameters:
            target = target.copy_add_param(key, value)
        return self._sender.build_request(
            method, target, headers=headers, content=content or None, extensions={_INNER: inner}
        )

    async def _send(self, request: httpx.Request, redirects: int) -> Answer:
        started = time.monotonic()
        while True:
            response = await self._sender.send(request, stream=True)
            try:
                body = await _bounded(response)
            finally:
                await response.aclose()
            if response.next_request is None or redirects == 0:
                return Answer(
                    status=response.status_code,
                    url=str(response.url),
                    headers=tuple((key.lower(), value) for key, value in response.headers.multi_items()),
                    body=body,
                    address=str(response.extensions.get(_ADDRESS, "")),
                    seconds=time.monotonic() - started,
                )
            redirects -= 1
            outside = not _is_internal(request.url)
            request = response.next_request
            if outside:  # no stranger's answer leads to what is reached by its owner's policies alone
                request.extensions = {**request.extensions, _INNER: ""}


class _Origin:
    """Connections to one host."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
        self.busy = 0
        """Requests whose answers have not ended."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        self.busy += 1
        try:
            response = await self.transport.handle_async_request(request)
        except BaseException:
            self.busy -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, self)
        return response


class _Body(httpx.AsyncByteStream):
    """That of an answer, whose end its origin is told."""

    def __init__(self, stream: httpx.AsyncByteStream, origin: _Origin) -> None:
        self._stream = stream
        self._origin: _Origin | None = origin

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        if self._origin is not None:
            self._origin.busy -= 1
            self._origin = None
        await self._stream.aclose()


class _Transport(httpx.AsyncBaseTransport):
    """Dials what the name was looked up to.

    Connections are kept by host, so that none serves a name that its certificate was not verified for.
    """

    def __init__(self, reach: Reach, context: ssl.SSLContext, internal: str) -> None:
        self._reach = reach
        # One owner's slow services hold up no other's: Envoy bounds the connections, as it bounds the questions.
        unbounded = httpx.Limits(max_keepalive_connections=20)
        self._internal = (
            httpx.AsyncHTTPTransport(verify=context, uds=internal, trust_env=False, limits=unbounded)
            if internal
            else None
        )
        self._context = context
        self._of_origins: OrderedDict[tuple[str, bytes, int | None], _Origin] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Try the addresses in turn until one accepts."""
        url = request.url
        if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > _MOST_PORT:
            raise httpx.UnsupportedProtocol("this is no URL of http or https")
        for name in (_CLASS_HEADER, _HOST_HEADER):
            request.headers.pop(name, None)
        if _is_internal(url):
            return await self._handle_internal(request)
        failure: httpx.ConnectError | None = None
        for address in await self._addresses(url):
            dialled = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.raw_host.decode()},
            )
            try:
                response = await (await self._of_origin(url)).send(dialled)
            except httpx.ConnectError as error:
                failure = error
                continue
            response.extensions[_ADDRESS] = address
            return response
        raise failure or httpx.ConnectError("the name has no address")

    async def aclose(self) -> None:
        """End all connections."""
        own = [origin.transport for origin in self._of_origins.values()]
        for transport in (*own, *([self._internal] if self._internal else [])):
            await transport.aclose()

    async def _handle_internal(self, request: httpx.Request) -> httpx.Response:
        """By Envoy, as a policy that forwards would come there: under that endpoint's own policy."""
        url, inner = request.url, request.extensions.get(_INNER)
        if self._internal is None or not inner:
            raise httpx.ConnectError("internal endpoints are not reached from here")
        headers = httpx.Headers(request.headers)
        headers[_CLASS_HEADER] = inner
        headers[_HOST_HEADER] = f"{url.scheme}+{url.host.lower().rstrip('.')}+{url.port or _PORTS[url.scheme]}"
        # The socket is the edge's own, so there is no TLS on it.
        plain = url.copy_with(scheme="http", port=None)
        return await self._internal.handle_async_request(
            httpx.Request(request.method, plain, headers=headers, stream=request.stream, extensions=request.extensions)
        )

    async def _addresses(self, url: httpx.URL) -> list[str]:
        # The name as it is written in certificates: from the other form Python would make another name (IDNA 2003).
        name = url.raw_host.decode()
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, url.port or 0, type=socket.SOCK_STREAM)
        except OSError:
            raise httpx.ConnectError("the name has no address") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        permitted = [address for address in addresses if self._reach.permits(address)]
        if not permitted:
            raise httpx.ConnectError("its address is not public, and `policy_networks` does not open it")
        return permitted

    async def _of_origin(self, url: httpx.URL) -> _Origin:
        key = (url.scheme, url.raw_host, url.port)
        origin = self._of_origins.pop(key, None) or _Origin(self._context)
        self._of_origins[key] = origin
        await self._forget_idle(key)
        return origin

    async def _forget_idle(self, wanted: tuple[str, bytes, int | None]) -> None:
        """Close what nobody has used for longest, if there are too many; never what somebody waits for."""
        excess = max(0, len(self._of_origins) - _MOST_ORIGINS)
        idle = [key for key, origin in self._of_origins.items() if not origin.busy and key != wanted]
        for origin in [self._of_origins.pop(key) for key in idle[:excess]]:
            await origin.transport.aclose()


def _is_internal(url: httpx.URL) -> bool:
    return url.host.lower().rstrip(".").endswith(".internal")


async def _bounded(response: httpx.Response) -> bytes:
    """The decoded body. Raises OutboundError where it is longer than MOST_BYTES."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate", ""):
        raise OutboundError(f"the answer is encoded as {encoding[:20]}, which was not asked for")
    decoder = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk if decoder is None else decoder.decompress(chunk, MOST_BYTES + 1)
            if len(body) > MOST_BYTES or (decoder is not None and decoder.unconsumed_tail):
                raise OutboundError(f"response size exceeded: {MOST_BYTES} bytes are the most")
    except zlib.error:
        raise OutboundError("the answer cannot be decoded") from None
    return bytes(body)


def _words(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "its certificate is not trusted"
        case httpx.ConnectError() | httpx.UnsupportedProtocol():
            return str(error) or "nobody accepts connections there"
        case _:
            return "the connection ended without an answer"
