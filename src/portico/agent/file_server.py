"""Serves the directory of a `file://` upstream, read-only, over connections that exist only inside this process.

Loaded only when such an upstream is used: it brings starlette and uvicorn.
"""

import asyncio
import html
import os
import socket
import stat
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from portico.agent.asgi import AsgiConnections
from portico.model.errors import UPSTREAM_INVALID, PorticoError

_FIX = "Give an absolute path to a directory that this user may read, as in file:///srv/site."
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}}
table{{border-collapse:collapse;width:100%}}td{{padding:.15rem .5rem .15rem 0}}td+td{{text-align:right;opacity:.7}}
a{{text-decoration:none}}a:hover{{text-decoration:underline}}</style>
<h1>{title}</h1><table>{rows}</table></html>"""


class Directory(StaticFiles):
    """A directory as a web site: index.html, listings, ranges; GET and HEAD only; nothing outside the root.

    Symbolic links are followed only where they end inside the root (starlette compares real paths).
    """

    def __init__(self, root: str) -> None:
        """Raises PorticoError(UPSTREAM_INVALID) where `root` is no readable directory."""
        if not Path(root).is_dir() or not os.access(root, os.R_OK | os.X_OK):
            raise PorticoError(UPSTREAM_INVALID, f"{root!r} is not a directory that can be read", fix=_FIX)
        super().__init__(directory=root, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HTTP; refuse WebSockets."""
        if scope["type"] == "http":
            await super().__call__(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, the index, a listing or an error page."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 404 and (listing := await asyncio.to_thread(self._listing, path, scope)):
                return listing
            headers = {"allow": "GET, HEAD"} if error.status_code == 405 else None
            return Response(f"{error.detail}\n", error.status_code, headers, "text/plain")
        if isinstance(response, RedirectResponse):
            # starlette's redirect is absolute, and names the scheme of this inner connection, not the visitor's.
            return _into_directory(scope)
        if response.status_code == 404 and (listing := await asyncio.to_thread(self._listing, path, scope)):
            return listing
        return response

    def _listing(self, path: str, scope: Scope) -> Response | None:
        try:
            full_path, found = self.lookup_path(path)
            if found is None or not stat.S_ISDIR(found.st_mode):
                return None
            entries = sorted(os.scandir(full_path), key=lambda entry: (not entry.is_dir(), entry.name.lower()))
        except (OSError, ValueError):
            return None
        location = scope["path"]
        if not location.endswith("/"):
            return _into_directory(scope)
        rows = [] if path == "." else ['<tr><td><a href="../">../</a><td>']
        rows += [_row(entry) for entry in entries]
        return HTMLResponse(_PAGE.format(title=html.escape(location), rows="\n".join(rows)))


def _into_directory(scope: Scope) -> Response:
    return RedirectResponse(quote("./" + scope["path"].rpartition("/")[2]) + "/")


def _row(entry: "os.DirEntry[str]") -> str:
    name = entry.name.encode("utf-8", "replace").decode() + ("/" if entry.is_dir() else "")
    try:
        size = "" if entry.is_dir() else f"{entry.stat().st_size:,}"
    except OSError:
        size = ""
    # "./" keeps a name with a colon from being read as a scheme.
    link = quote("./" + os.fsdecode(entry.name) + ("/" if entry.is_dir() else ""), errors="surrogateescape")
    return f'<tr><td><a href="{html.escape(link)}">{html.escape(name)}</a><td>{size}'


class FileServer:
    """An HTTP/1.1 server of one directory; each connection is a socket pair."""

    def __init__(self, root: str) -> None:
        """Raises PorticoError(UPSTREAM_INVALID)."""
        self._connections = AsgiConnections(Directory(root))
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self) -> socket.socket:
        """The near end of a new connection, non-blocking."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(far), name="portico file server connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    async def _serve(self, far: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._connections.protocol, far)

    def close(self) -> None:
        """End all connections."""
        self._connections.close()
