"""A provider that signs everybody in, with the answers that OpenID Connect, Google, GitHub and others document.

Its person, its keys and its faults are attributes, so that a test says in one line what is wrong.
"""

import asyncio
import contextlib
import secrets
import socket
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from portico.gate.providers import PROVIDERS, Provider

CLIENT_ID, CLIENT_SECRET = "the-application", "a secret with : and %"


@cache
def _first_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


class IdentityProvider:
    """One on a port of this machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.person: dict[str, Any] = {
            "sub": "248289761001",
            "name": "Jane Doe",
            "email": "jane@example.com",
            "email_verified": True,
        }
        self.keys = [_first_key()]
        self.served_keys = list(self.keys)
        self.key_set: Any = None
        """What is served instead of `served_keys`."""
        self.claims: dict[str, Any] = {}
        """Instead of what belongs into an identity token."""
        self.down = False
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: set[str] = set()
        self.access_tokens: set[str] = set()
        self.seconds = 3600
        self.ends_sessions = False
        """Whether it has a page for signing out (OpenID Connect RP-Initiated Logout 1.0)."""
        self.leads_back_to: set[str] = set()
        """`post_logout_redirect_uris` that were registered."""

    def rotate(self) -> None:
        """Sign with a new key, and forget the old one."""
        self.keys = [RSAKey.generate_key(2048, {"kid": f"key-{secrets.token_hex(4)}", "use": "sig"})]
        self.served_keys = list(self.keys)

    def named(self, name: str) -> Provider:
        """A provider of the gate's table, at this one's address."""
        known = PROVIDERS[name]
        userinfo = {"github": "/user", "twitch": "/helix/users", "microsoft": "/me"}.get(name, "/userinfo")
        return replace(
            known,
            authorization=f"{self.url}/authorize",
            token=f"{self.url}/token",
            userinfo=self.url + userinfo,
            issuer=self.url if known.issuer else "",
            key_set=f"{self.url}/keys" if known.key_set else "",
            emails=f"{self.url}/user/emails" if known.emails else "",
        )

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        """A token of this provider."""
        key = self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key)

    def app(self) -> Starlette:
        """Everything it answers."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/keys", self._keys),
                Route("/userinfo", self._userinfo),
                Route("/user", self._github),
                Route("/user/emails", self._emails),
                Route("/helix/users", self._twitch),
                Route("/me", self._microsoft),
                Route("/end-session", self._end_session),
            ]
        )

    async def _describe(self, request: Request) -> Response:
        self.asked.append("describe")
        if self.down:
            return Response(status_code=503)
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                **({"end_session_endpoint": f"{self.url}/end-session"} if self.ends_sessions else {}),
            }
        )

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append("authorize")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> Response:
        self.asked.append("token")
        if self.down:
            return Response(status_code=503)
        fields = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if self._application(request, fields) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        if fields["grant_type"] == "refresh_token":
            if fields["refresh_token"] not in self.refresh_tokens:
                return JSONResponse({"error": "invalid_grant"}, 400)
            self.refresh_tokens.discard(fields["refresh_token"])
            return JSONResponse(self._tokens())
        asked = self.codes.pop(fields.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != fields["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        challenge = urlsafe_b64encode(sha256(fields.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if asked.get("code_challenge", challenge) != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce")}
        return JSONResponse({**self._tokens(), "id_token": self.signed({**claims, **self.person, **self.claims})})

    def _application(self, request: Request, fields: dict[str, str]) -> tuple[str, str]:
        if basic := request.headers.get("authorization"):
            name, _, secret = b64decode(basic.removeprefix("Basic ")).decode().partition(":")
            return unquote_plus(name), unquote_plus(secret)
        return fields["client_id"], fields["client_secret"]

    def _tokens(self) -> dict[str, Any]:
        access, refresh = secrets.token_hex(8), secrets.token_hex(8)
        self.access_tokens.add(access)
        self.refresh_tokens.add(refresh)
        return {"access_token": access, "token_type": "Bearer", "expires_in": self.seconds, "refresh_token": refresh}

    async def _end_session(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append("end-session")
        claims = jwt.decode(asked["id_token_hint"], KeySet([*self.served_keys])).claims
        if claims["aud"] != asked["client_id"] or claims["sub"] != self.person["sub"]:
            return Response(status_code=400)
        back = asked.get("post_logout_redirect_uri", "")
        if not back:
            return Response("You are signed out.")
        return RedirectResponse(back) if back in self.leads_back_to else Response(status_code=400)

    async def _keys(self, request: Request) -> Response:
        self.asked.append("keys")
        served = self.key_set or KeySet([*self.served_keys]).as_dict(private=False)
        return Response(status_code=503) if self.down else JSONResponse(served)

    async def _userinfo(self, request: Request) -> Response:
        return self._known(request, self.person)

    async def _github(self, request: Request) -> Response:
        return self._known(request, {"id": 583231, "login": "octocat", "name": None, "email": "unverified@example.com"})

    async def _emails(self, request: Request) -> Response:
        addresses = [
            {"email": "old@example.com", "verified": True, "primary": False, "visibility": None},
            {"email": "octocat@github.com", "verified": True, "primary": True, "visibility": "public"},
        ]
        return self._known(request, addresses)

    async def _twitch(self, request: Request) -> Response:
        if request.headers.get("client-id") != CLIENT_ID:
            return Response(status_code=401)
        user = {"id": "141981764", "login": "twitchdev", "display_name": "TwitchDev", "email": "dev@twitch.example"}
        return self._known(request, {"data": [user]})

    async def _microsoft(self, request: Request) -> Response:
        user = {
            "id": "87d349ed",
            "displayName": "Adele",
            "mail": "ceo@victim.example",
            "userPrincipalName": "a@contoso",
        }
        return self._known(request, user)

    def _known(self, request: Request, answer: Any) -> Response:
        self.asked.append("userinfo")
        if self.down:
            return Response(status_code=503)
        known = request.headers.get("authorization", "").removeprefix("Bearer ") in self.access_tokens
        return JSONResponse(answer) if known else Response(status_code=401)


class _Server(uvicorn.Server):
    """One among the tasks of a test, which leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def on_a_port(app: ASGIApp) -> AsyncIterator[str]:
    """Serve it on a free port of this machine; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with _served(app, listening):
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def on_a_socket(app: ASGIApp, path: str) -> AsyncIterator[None]:
    """Serve it on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        async with _served(app, listening):
            yield


@contextlib.asynccontextmanager
async def _served(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """One that runs."""
    provider = IdentityProvider("")
    async with on_a_port(provider.app()) as url:
        provider.url = url
        yield provider
