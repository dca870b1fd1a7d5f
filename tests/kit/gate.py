"""The gate for tests, asked as Envoy's workers ask it, and a browser that it leads about."""

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from kit.identity_provider import CLIENT_ID, CLIENT_SECRET
from portico.gate.app import gate_app
from portico.gate.providers import PROVIDERS, Provider
from portico.gate.reach import Reach

LOOPBACK = Reach((ip_network("127.0.0.0/8"), ip_network("::1/128")))
SECRET = "5f" * 32


@contextlib.asynccontextmanager
async def asked_gate(
    directory: Path,
    providers: Mapping[str, Provider] = PROVIDERS,
    reach: Reach = LOOPBACK,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[httpx.AsyncClient]:
    """A gate in this process; what is posted to it is answered as JSON."""
    edge_secrets = directory / "gate.secrets"
    if not edge_secrets.exists():
        edge_secrets.write_text(SECRET)
    app = gate_app(reach, edge_secrets, providers=providers, clock=clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gate", trust_env=False) as client,
    ):
        yield client


def action(issuer: str, **more: Any) -> dict[str, Any]:
    """The configuration of an openid-connect action."""
    return {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **more}


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Browser:
    """Keeps cookies by host, and asks the gate before each of its requests, as an endpoint with a policy does."""

    gate: httpx.AsyncClient
    action: dict[str, Any]
    origin: str = "https://app.example"
    headers: dict[str, str] = field(default_factory=lambda: {"accept": "text/html", "sec-fetch-mode": "navigate"})
    cookies: dict[str, str] = field(default_factory=dict)

    def visit(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The request as the gate is told of it."""
        parts = urlsplit(self.origin)
        return {
            "method": method,
            "scheme": parts.scheme,
            "host": parts.netloc,
            "path": path,
            "cookies": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "headers": dict(self.headers if headers is None else headers),
        }

    async def get(self, path: str, **visit: Any) -> dict[str, Any]:
        """What the gate says of a request, with its cookies kept."""
        answer = await self.gate.post("/sign-in", json={"visit": self.visit(path, **visit), "action": self.action})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        for line in [*found.get("set_cookies", []), *values(found, "set-cookie")]:
            self.keep(line)
        return found

    def keep(self, line: str) -> None:
        """Do as a Set-Cookie field says."""
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        if name.startswith("__Host-"):
            assert "Path=/" in attributes
            assert "Secure" in attributes
            assert not any(one.startswith("Domain") for one in attributes)
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    async def leave_for_provider(self, path: str = "/") -> str:
        """Visit a path without a session; where the provider sends the browser back to."""
        reply = await self.get(path)
        assert reply.get("status") == 302, reply
        return await provider_sends_back(values(reply, "location")[0])

    async def sign_in(self, path: str = "/") -> dict[str, Any]:
        """All the way; what the gate says of the last request."""
        back = await self.leave_for_provider(path)
        reply = await self.get(path_of(back))
        assert reply.get("status") == 302, reply
        location = values(reply, "location")[0]
        assert location.startswith(self.origin + "/")
        return await self.get(path_of(location))


async def provider_sends_back(location: str) -> str:
    """Visit the provider's page; the first address on another host that it redirects to."""
    async with httpx.AsyncClient(trust_env=False, verify=_trust(), timeout=60) as client:
        answer = await client.get(location)
        assert answer.is_redirect, answer.text
        return urljoin(location, answer.headers["location"])


def values(reply: Mapping[str, Any], name: str) -> list[str]:
    """Header fields of a reply."""
    return [value for key, value in reply.get("headers", []) if key == name]


def path_of(url: str) -> str:
    """Path and query."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
