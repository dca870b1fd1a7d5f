"""The application behind `api.<domain>`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from portico.api.ports import Node
from portico.store.store import Store


async def healthz(_: Request) -> Response:
    """Alive."""
    return PlainTextResponse("ok\n")


def api_app(store: Store, node: Node) -> Starlette:
    """Health."""
    return Starlette(routes=[Route("/healthz", healthz)])
