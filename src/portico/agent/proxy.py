"""The way to the edge through a proxy: HTTP CONNECT or SOCKS5."""

import socket
from urllib.parse import urlsplit

from python_socks import ProxyError, ProxyTimeoutError
from python_socks.async_.asyncio import Proxy

from portico.agent.dial_reason import DialError, DialReason
from portico.agent.edge_address import EdgeAddress
from portico.agent.names import is_loopback_name


async def open_through(proxy_url: str, edge: EdgeAddress, timeout: float) -> socket.socket:
    """A socket that leads to `edge` through the proxy, which resolves the name. Raises DialError, OSError."""
    place = urlsplit(proxy_url)
    # The library resolves names itself for `socks5`, and leaves them to the proxy with `rdns`.
    proxy = Proxy.from_url(proxy_url.replace("socks5h://", "socks5://", 1), rdns=not is_loopback_name(edge.host))
    host = "127.0.0.1" if is_loopback_name(edge.host) else edge.host
    try:
        return await proxy.connect(dest_host=host, dest_port=edge.port, timeout=timeout)
    except ProxyTimeoutError:
        raise TimeoutError from None
    except ProxyError as error:
        raise DialError(DialReason.PROXY, f"the proxy at {place.hostname}:{place.port}: {error}") from None
