"""The application behind `api.<domain>`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from portico.api.door import Door
from portico.api.ports import Node
from portico.api.problems import invalid, problem_response
from portico.api.resources import RESOURCES
from portico.api.routes import Context, add_routes
from portico.model.errors import API_BODY_UNREADABLE, API_FAILED, API_METHOD, API_NOT_FOUND, PorticoError
from portico.store.store import Store


def api_app(store: Store, node: Node) -> ASGIApp:
    """The API with its door: health needs no credentials, all else does."""
    return Door(documented_app(store, node), store)


def documented_app(store: Store, node: Node) -> FastAPI:
    """The API behind its door; it knows its own OpenAPI document."""
    app = FastAPI(
        title="Portico API",
        version="2",
        description="What an edge knows and does, in the shape of ngrok's API: https://api.<domain>.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    # Both are checked at the door; here they are described.
    described = [Security(HTTPBearer(auto_error=False, description="An API key.")), Depends(_version)]
    router = APIRouter(dependencies=described)
    for resource in RESOURCES:
        add_routes(router, resource, Context(store, node))
    app.include_router(router)
    app.state.routes = [route for route in router.routes if isinstance(route, APIRoute)]
    app.add_exception_handler(PorticoError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
    app.add_exception_handler(Exception, _on_error)
    return app


async def _version(
    ngrok_version: Annotated[Literal["2"], Header(alias="ngrok-version", description="Version of the API.")],
) -> None:
    """The header of the version."""


async def _on_error(request: Request, error: Exception) -> Response:
    operation_id = request.scope["state"]["operation_id"]
    match error:
        case PorticoError():
            return problem_response(error, operation_id)
        case RequestValidationError():
            return problem_response(invalid(error.errors()), operation_id)
        case HTTPException(status_code=404):
            return problem_response(PorticoError(API_NOT_FOUND, "there is nothing at this path"), operation_id)
        case HTTPException(status_code=405):
            problem = PorticoError(API_METHOD, f"{request.method} is not possible at this path")
            return problem_response(problem, operation_id, {"Allow": _allowed(request)})
        case HTTPException(status_code=400):  # FastAPI's word for a body that cannot even be decoded
            return problem_response(PorticoError(API_BODY_UNREADABLE, "the body cannot be read"), operation_id)
    return problem_response(PorticoError(API_FAILED, "the edge failed to do this"), operation_id)


def _allowed(request: Request) -> str:
    """All methods of the path; Starlette would tell those of the first route that has it."""
    routes: list[APIRoute] = request.app.state.routes
    path = request.scope["path"]
    return ", ".join(
        sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})
    )
