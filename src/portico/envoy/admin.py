"""A small reader of Envoy's admin interface on its Unix socket."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import httptools

from portico.model.errors import EDGE_BUSY, PorticoError

_TIMEOUT: Final = 10.0


class AdminError(PorticoError):
    """The admin interface does not answer, or refuses."""

    def __init__(self, message: str) -> None:
        super().__init__(EDGE_BUSY, message)


class _Response:
    """Collects what httptools calls back."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


class Admin:
    """One Envoy's admin interface. Every method raises AdminError when Envoy does not answer."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def ready(self) -> bool:
        """Whether Envoy is live: its initial configuration is complete and it is not draining for its end."""
        status, _ = await self._request("GET", "/ready")
        return status == 200

    async def metrics(self, *, used_only: bool = True) -> str:
        """All statistics in the text format of Prometheus."""
        return (await self._checked("GET", "/stats/prometheus" + ("?usedonly" if used_only else ""))).decode()

    async def server_info(self) -> Any:
        """Version, state, uptime, command line."""
        return json.loads(await self._checked("GET", "/server_info"))

    async def config_dump(self, *, endpoints: bool = False) -> Any:
        """What Envoy has at the moment; private keys are redacted by Envoy."""
        return json.loads(await self._checked("GET", "/config_dump" + ("?include_eds" if endpoints else "")))

    async def open_connections(self) -> int:
        """Visitors' connections that are open now."""
        path = r"/stats?format=json&filter=^listener\..*downstream_cx_active$"
        stats = json.loads(await self._checked("GET", path))["stats"]
        # Each worker counts too, in `listener.<address>.worker_<n>.…`; the request itself is one of `listener.admin`.
        return sum(stat["value"] for stat in stats if not re.search(r"\.worker_|^listener\.admin\.", stat["name"]))

    async def drain_listeners(self) -> None:
        """Ask open connections to end (GOAWAY, `connection: close`); new ones are still served, and asked the same."""
        await self._checked("POST", "/drain_listeners?graceful&skip_exit")

    async def quit(self) -> None:
        """Exit now."""
        await self._checked("POST", "/quitquitquit")

    async def _checked(self, method: str, path: str) -> bytes:
        status, body = await self._request(method, path)
        if status != 200:
            raise AdminError(f"Envoy's admin interface answers {status} to {path}")
        return body

    async def _request(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._exchange(method, path)
        except (OSError, httptools.HttpParserError) as error:
            raise AdminError(f"Envoy's admin interface does not answer {path}: {error}") from None

    async def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_unix_connection(str(self._socket_path))
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n".encode())
            response = _Response()
            parser = httptools.HttpResponseParser(response)
            while not response.complete:
                data = await reader.read(1 << 16)
                if not data:
                    raise ConnectionResetError("connection closed early")
                parser.feed_data(data)
            return parser.get_status_code(), bytes(response.body)
        finally:
            writer.close()
