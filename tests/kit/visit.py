"""Visitors of an edge on loopback: the URL's name goes into SNI and Host, whatever the system's resolver thinks."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from kit.edge import RunningEdge

PATIENCE = 60.0


def visit(edge: RunningEdge, url: str, path: str = "/", method: str = "GET", **request: Any) -> httpx.Response:
    """One request to an endpoint's URL."""
    with httpx.Client(verify=trust(edge), timeout=PATIENCE, trust_env=False) as client:
        return client.request(method, **_addressed(url, path, request.pop("headers", {})), **request)


async def visit_async(edge: RunningEdge, url: str, path: str = "/", **request: Any) -> httpx.Response:
    """One request to an endpoint's URL, from a running event loop."""
    async with httpx.AsyncClient(verify=trust(edge), timeout=PATIENCE, trust_env=False) as client:
        return await client.request("GET", **_addressed(url, path, request.pop("headers", {})), **request)


def trust(edge: RunningEdge) -> ssl.SSLContext:
    """A context that trusts the edge's own CA."""
    return ssl.create_default_context(cafile=str(edge.ca))


def _addressed(url: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    parts = urlsplit(url)
    scheme = "http" if parts.scheme in ("http", "tcp") else "https"
    return {
        "url": f"{scheme}://127.0.0.1:{parts.port}{path}",
        "headers": {"host": parts.netloc, **headers},
        "extensions": {"sni_hostname": parts.hostname},
    }
