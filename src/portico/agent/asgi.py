"""An ASGI application on connections that this process makes itself, by uvicorn's protocol without its server:
no signal handlers, no start-up log, no thread."""

import asyncio
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.server import ServerState


class AsgiConnections:
    """The connections of one application."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = Config(app, lifespan="off", log_config=None, access_log=False, ws="none", proxy_headers=False)
        self._config.load()
        self._state = ServerState()

    def protocol(self) -> asyncio.Protocol:
        """What serves one connection."""
        make: Any = AutoHTTPProtocol
        served: asyncio.Protocol = make(config=self._config, server_state=self._state, app_state={})
        return served

    def close(self) -> None:
        """End all connections, each when its request is answered."""
        for connection in list(self._state.connections):
            connection.shutdown()
