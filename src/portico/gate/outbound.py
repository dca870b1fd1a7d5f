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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        self._sender = httpx.AsyncClient(transport=self._transport, trust_env=False, headers=agent)

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
            request = response.next_request


class _Transport(httpx.AsyncBaseTransport):
    """Dials what the name was looked up to.

    Connections are kept by host, so that none serves a name that its certificate was not verified for.
    """

    def __init__(self, reach: Reach, context: ssl.SSLContext, internal: str) -> None:
        self._reach = reach
        self._internal = httpx.AsyncHTTPTransport(verify=context, uds=internal, trust_env=False) if internal else None
        self._context = context
        self._of_origins: OrderedDict[tuple[str, str, int | None], httpx.AsyncHTTPTransport] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Try the addresses in turn until one accepts."""
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx.UnsupportedProtocol("this is no URL of http or https")
        for name in (_CLASS_HEADER, _HOST_HEADER):
            request.headers.pop(name, None)
        if url.host.lower().rstrip(".").endswith(".internal"):
            return await self._handle_internal(request)
        failure: httpx.ConnectError | None = None
        for address in await self._addresses(url):
            dialled = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            try:
                response = await (await self._of_origin(url)).handle_async_request(dialled)
            except httpx.ConnectError as error:
                failure = error
                continue
            response.extensions[_ADDRESS] = address
            return response
        raise failure or httpx.ConnectError("the name has no address")

    async def aclose(self) -> None:
        """End all connections."""
        for transport in (*self._of_origins.values(), *([self._internal] if self._internal else [])):
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
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port or 0, type=socket.SOCK_STREAM)
        except OSError:
            raise httpx.ConnectError("the name has no address") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        permitted = [address for address in addresses if self._reach.permits(address)]
        if not permitted:
            raise httpx.ConnectError("its address is not public, and `policy_networks` does not open it")
        return permitted

    async def _of_origin(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        origin = (url.scheme, url.host, url.port)
        transport = self._of_origins.pop(origin, None)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False)
        self._of_origins[origin] = transport
        if len(self._of_origins) > _MOST_ORIGINS:
            _, oldest = self._of_origins.popitem(last=False)
            await oldest.aclose()
        return transport


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
