"""What every request has to pass before it is looked at: an API key, a version, a body of bearable size.

Plain ASGI around the whole application, so that no path, not even one that does not exist, answers without credentials.
"""

import logging
import re
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portico.api.problems import problem_response
from portico.api.resource import Caller
from portico.api.roles import check_role
from portico.model.errors import (
    API_AUTHORIZATION_MALFORMED,
    API_CONTENT_TYPE,
    API_KEY_IS_AUTHTOKEN,
    API_KEY_MISSING,
    API_KEY_UNKNOWN,
    API_TOO_LARGE,
    API_VERSION_MISSING,
    API_VERSION_UNKNOWN,
    PorticoError,
)
from portico.store.store import Store
from portico.store.tokens import new_id

log = logging.getLogger(__name__)

MOST_BODY: Final = 1 << 20
VERSION: Final = "2"
HEALTH: Final = "/healthz"
_BEARER: Final = re.compile(r"bearer +([!-~]{1,512})", re.IGNORECASE)


class Door:
    """Lets a request through to `app` with `caller`, `operation_id` and `body` in its state."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        if scope["path"] == HEALTH:
            await PlainTextResponse("ok\n")(scope, receive, send)
            return
        operation_id = new_id("op")
        response = await self._admit(scope, receive, operation_id)
        if response is not None:
            await response(scope, receive, send)
            return
        try:
            await self._app(scope, _replay(scope["state"]["body"], receive), send)
        except Exception as error:
            # The caller has been told the operation's id, under which the log has the reason.
            log.exception("an API request failed", extra={"operation": operation_id, "error": type(error).__name__})

    async def _admit(self, scope: Scope, receive: Receive, operation_id: str) -> Response | None:
        headers = Headers(scope=scope)
        try:
            caller = await run_in_threadpool(self._caller, headers)
            check_role(caller, scope["method"], scope["path"])
            _check_version(headers)
            body = await _read(headers, receive)
            if body and scope["method"] in ("POST", "PATCH", "PUT"):
                _check_content_type(headers)
        except PorticoError as error:
            extra = {"WWW-Authenticate": "Bearer"} if error.code.status == 401 else {}
            return problem_response(error, operation_id, extra)
        scope["state"] = {"caller": caller, "operation_id": operation_id, "body": body}
        return None

    def _caller(self, headers: Headers) -> Caller:
        text = headers.get("authorization")
        if not text:
            raise PorticoError(API_KEY_MISSING, "the Authorization header is missing")
        bearer = _BEARER.fullmatch(text.strip())
        if bearer is None:
            raise PorticoError(API_AUTHORIZATION_MALFORMED, "the Authorization header is not `Bearer` and a key")
        key = bearer[1]
        with self._store.read() as unit:
            holder = unit.api_keys.holder_of(key)
            if holder is None and unit.authtokens.holder_of(key) is not None:
                raise PorticoError(API_KEY_IS_AUTHTOKEN, "this is an authtoken, not an API key")
            user = unit.users.find(holder[1].user_id) if holder and holder[1].user_id else None
        if holder is None:
            raise PorticoError(API_KEY_UNKNOWN, "the API key is not known to this edge")
        owner, credential = holder
        if credential.user_id is None:
            return Caller(owner, credential.id, key)
        if user is None:
            raise PorticoError(API_KEY_UNKNOWN, "the API key's user is gone")
        return Caller(owner, credential.id, key, user.id, user.role)


def _check_version(headers: Headers) -> None:
    version = headers.get("ngrok-version")
    if version is None:
        raise PorticoError(API_VERSION_MISSING, f"the header ngrok-version is missing; the version here is {VERSION}")
    if version.strip() != VERSION:
        raise PorticoError(API_VERSION_UNKNOWN, f"this edge speaks version {VERSION} of the API")


def _check_content_type(headers: Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise PorticoError(API_CONTENT_TYPE, "the Content-Type is not application/json")


async def _read(headers: Headers, receive: Receive) -> bytes:
    length = headers.get("content-length", "")
    body = bytearray()
    while not (length.isdecimal() and int(length) > MOST_BODY):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY:
            break
        if not message.get("more_body", False):
            return bytes(body)
    raise PorticoError(API_TOO_LARGE, f"the body has more than {MOST_BODY} bytes")


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
