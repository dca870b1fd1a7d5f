"""The agent's local web interface: where it listens, and who may ask.

Loaded only where it is wanted: it brings starlette and uvicorn.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from portico.agent.agent import Agent
from portico.agent.asgi import AsgiConnections
from portico.agent.web_api import Open, WebApi
from portico.model.errors import ADDRESS_IN_USE, OPTION_INVALID, PorticoError

DEFAULT_ADDRESS: Final = "127.0.0.1:4040"
PORTS_TRIED: Final = 20
"""The wanted port and those after it."""


class WebInterface:
    """`await start()` gives its URL; `await close()`."""

    def __init__(
        self,
        agent: Agent,
        address: str = DEFAULT_ADDRESS,
        *,
        allow_hosts: Sequence[str] = (),
        open_endpoint: Open | None = None,
    ) -> None:
        """`allow_hosts`: further names and networks (CIDR) that may stand in `Host`; `open_endpoint` serves POST.

        Raises PorticoError(OPTION_INVALID) where `address` is none.
        """
        self._host, self._port = _host_and_port(address)
        allowed = HostCheck(WebApi(agent, open_endpoint).app(), [self._host, *allow_hosts])
        self._connections = AsgiConnections(allowed)
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen, on the next free port where the wanted one is taken. Raises PorticoError(ADDRESS_IN_USE)."""
        sock = self._bind()
        self._server = await asyncio.get_running_loop().create_server(self._connections.protocol, sock=sock)
        host, port = sock.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
            self._connections.close()

    def _bind(self) -> socket.socket:
        host, wanted = self._host, self._port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
            try:
                return socket.create_server((host, port), family=family)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise PorticoError(ADDRESS_IN_USE, f"web_addr {host}:{port}: {error.strerror}") from None
        raise PorticoError(ADDRESS_IN_USE, f"web_addr: no free port from {wanted} to {wanted + PORTS_TRIED - 1}")


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.strip().rpartition(":")
    if not colon or not port.isdecimal() or len(port) > 5 or int(port) > 65_535:
        raise PorticoError(OPTION_INVALID, f"web_addr: {address!r} is not host:port")
    host = host.strip("[]").lower()
    return ("127.0.0.1" if host in ("", "localhost") else host), int(port)


class HostCheck:
    """Answers only requests whose `Host` is ours, and none that a page of another site makes.

    Without it, any web page could read the traffic through a name of its own that resolves to loopback.
    """

    def __init__(self, app: ASGIApp, allow: Sequence[str]) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", *(host.lower() for host in allow)}
        self._networks = [network for host in allow if (network := _network(host)) is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass or refuse."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        if not self.allows(headers.get("host", "")):
            refusal = JSONResponse({"status_code": 403, "msg": "this Host is not allowed; see web_allow_hosts"}, 403)
            await refusal(scope, receive, send)
        elif headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["method"] != "GET":
            await JSONResponse({"status_code": 403, "msg": "a page of another site asks"}, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def allows(self, host: str) -> bool:
        """Whether `host` (a `Host` header) is ours."""
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name in self._names or "*" in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
