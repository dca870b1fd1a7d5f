"""The routes of the agent's local web interface: ngrok's agent API and two pages."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from portico.agent import web_shapes
from portico.agent.agent import Agent, AgentEndpoint
from portico.agent.dial_reason import DialError
from portico.model.errors import NOT_SERVED, PorticoError

Open = Callable[[dict[str, Any], AgentEndpoint | None], Awaitable[AgentEndpoint]]
"""Opens the endpoint that a definition of the configuration file's form describes, perhaps instead of another one."""

_LIST_LIMIT = 50
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class WebApi:
    """One agent over HTTP."""

    def __init__(self, agent: Agent, open_endpoint: Open | None = None) -> None:
        self._agent = agent
        self._open = open_endpoint
        self._page = files("portico.agent").joinpath("web_page.html").read_text(encoding="utf-8")
        script = _SCRIPT.search(self._page)
        digest = base64.b64encode(hashlib.sha256(script[1].encode() if script else b"").digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
            "img-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def app(self) -> Starlette:
        """The application, without the checks of who asks."""
        routes = [
            Route("/", self._home),
            Route("/inspect/http", self._page_response),
            Route("/status", self._page_response),
            Route("/api", self._root),
            Route("/api/status", self._status),
            Route("/api/requests/http", self._requests),
            Route("/api/requests/http", self._replay, methods=["POST"]),
            Route("/api/requests/http", self._clear, methods=["DELETE"]),
            Route("/api/requests/http/{id}", self._request),
        ]
        for kind in ("tunnels", "endpoints"):
            routes += [
                Route(f"/api/{kind}", self._list),
                Route(f"/api/{kind}", self._create, methods=["POST"]),
                Route(f"/api/{kind}", self._put, methods=["PUT"]),
                Route(f"/api/{kind}/{{name}}", self._put, methods=["PUT"]),
                Route(f"/api/{kind}/{{name}}", self._get),
                Route(f"/api/{kind}/{{name}}", self._delete, methods=["DELETE"]),
            ]
        handlers: dict[Any, Any] = {HTTPException: _http_error, PorticoError: _portico_error, DialError: _dial_error}
        return Starlette(routes=routes, exception_handlers=handlers)

    # Pages.

    async def _home(self, _: Request) -> Response:
        return RedirectResponse("/inspect/http")

    async def _page_response(self, _: Request) -> Response:
        return HTMLResponse(self._page, headers={"content-security-policy": self._policy})

    # Session and endpoints.

    async def _root(self, _: Request) -> Response:
        names = ("tunnels", "endpoints", "requests/http", "status")
        return JSONResponse({"uri": "/api", **{f"{name.replace('/', '_')}_uri": f"/api/{name}" for name in names}})

    async def _status(self, _: Request) -> Response:
        return JSONResponse(web_shapes.status(self._agent.status))

    async def _list(self, request: Request) -> Response:
        kind, shape = _kind(request)
        items = [shape(endpoint) for endpoint in self._agent.endpoints]
        return JSONResponse({kind: items, "uri": f"/api/{kind}"})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_kind(request)[1](self._find(request.path_params["name"])))

    async def _create(self, request: Request) -> Response:
        return await self._opened(request, await _body(request), None)

    async def _put(self, request: Request) -> Response:
        """Open an endpoint under a name, instead of the one that has it; nothing changes where the body is wrong."""
        body = await _body(request)
        name = str(request.path_params.get("name") or body.get("name") or "")
        if not name or body.setdefault("name", name) != name:
            raise HTTPException(400, "the body's name is not the endpoint's")
        return await self._opened(request, body, self._known(name))

    async def _opened(self, request: Request, body: dict[str, Any], instead: AgentEndpoint | None) -> Response:
        if self._open is None:
            raise PorticoError(NOT_SERVED, "this agent opens no endpoints over its web interface")
        endpoint = await self._open(body, instead)
        return JSONResponse(_kind(request)[1](endpoint), 200 if instead else 201)

    async def _delete(self, request: Request) -> Response:
        await self._find(request.path_params["name"]).close()
        return Response(status_code=204)

    # Captured requests.

    async def _requests(self, request: Request) -> Response:
        limit = request.query_params.get("limit", str(_LIST_LIMIT))
        if not limit.isdecimal():
            raise HTTPException(400, "limit is a number")
        name = request.query_params.get("tunnel_name")
        inspector = self._agent.inspector
        found = inspector.requests(int(limit[:9]), name) if inspector else []
        items = [web_shapes.captured_request(captured) for captured in found]
        return JSONResponse({"uri": "/api/requests/http", "requests": items})

    async def _request(self, request: Request) -> Response:
        captured = self._agent.inspector.get(request.path_params["id"]) if self._agent.inspector else None
        if captured is None:
            raise HTTPException(404, "no such request")
        return JSONResponse(web_shapes.captured_request(captured))

    async def _replay(self, request: Request) -> Response:
        body = await _body(request)
        captured = self._agent.inspector.get(str(body.get("id"))) if self._agent.inspector else None
        if captured is None:
            raise HTTPException(404, "no such request")
        await self._find(str(body.get("tunnel_name") or captured.endpoint)).replay(captured)
        return Response(status_code=204)

    async def _clear(self, _: Request) -> Response:
        if self._agent.inspector:
            self._agent.inspector.clear()
        return Response(status_code=204)

    def _known(self, name: str) -> AgentEndpoint | None:
        return next((endpoint for endpoint in self._agent.endpoints if endpoint.name == name), None)

    def _find(self, name: str) -> AgentEndpoint:
        found = self._known(name)
        if found is None:
            raise HTTPException(404, "no such endpoint")
        return found


def _kind(request: Request) -> tuple[str, Callable[[AgentEndpoint], web_shapes.Json]]:
    if request.url.path.startswith("/api/tunnels"):
        return "tunnels", web_shapes.tunnel
    return "endpoints", web_shapes.endpoint_object


async def _body(request: Request) -> dict[str, Any]:
    # A page of another origin cannot send this type without asking first, and is told no.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return body


async def _http_error(_: Request, error: HTTPException) -> Response:
    return _error(error.status_code, error.detail, None)


async def _portico_error(_: Request, error: PorticoError) -> Response:
    return _error(400, str(error), str(error.code))


async def _dial_error(_: Request, error: DialError) -> Response:
    return _error(502, error.text, None)


def _error(status: int, message: str, code: str | None) -> Response:
    body = {"status_code": status, "error_code": code or status, "msg": message, "details": {"err": message}}
    return JSONResponse(body, status)
