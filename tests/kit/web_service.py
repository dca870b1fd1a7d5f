"""An upstream as applications are: uvicorn with WebSocket, server-sent events, uploads and downloads."""

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

BLOCK = random.Random(1).randbytes(1 << 20)
"""Bulk data repeats this block."""


def bulk_digest(megabytes: int) -> str:
    """SHA-256 of what `/download?megabytes` sends."""
    digest = hashlib.sha256()
    for _ in range(megabytes):
        digest.update(BLOCK)
    return digest.hexdigest()


async def _headers(request: Request) -> Response:
    return JSONResponse({**request.headers, "client": request.client.host if request.client else ""})


async def _upload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for part in request.stream():
        digest.update(part)
    return PlainTextResponse(digest.hexdigest())


async def _download(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(int(request.url.query)):
            yield BLOCK

    return StreamingResponse(parts(), media_type="application/octet-stream")


async def _broken(_: Request) -> Response:
    return PlainTextResponse("broken", 500)


class _Events:
    """Sends an event only when the one before was acknowledged by `/next`: a buffered stream would stand still."""

    def __init__(self) -> None:
        self._turns = asyncio.Queue[int]()

    async def stream(self, _: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                await self._turns.get()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def next(self, _: Request) -> Response:
        await self._turns.put(1)
        return PlainTextResponse("next")


async def _echo(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text("echo:" + await socket.receive_text())


def _application() -> Starlette:
    events = _Events()
    return Starlette(
        routes=[
            Route("/headers", _headers),
            Route("/upload", _upload, methods=["POST"]),
            Route("/download", _download),
            Route("/events", events.stream),
            Route("/next", events.next),
            Route("/broken", _broken),
            WebSocketRoute("/echo", _echo),
        ]
    )


@contextlib.contextmanager
def web_service() -> Iterator[int]:
    """Run it on a free port of 127.0.0.1; yields the port."""
    config = uvicorn.Config(_application(), port=0, log_level="error", ws="websockets-sansio", lifespan="off")
    server, bound = uvicorn.Server(config), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, bound)), daemon=True)
    thread.start()
    assert bound.wait(30)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


async def _serve(server: uvicorn.Server, bound: threading.Event) -> None:
    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        bound.set()

    telling = asyncio.create_task(tell())
    await server.serve()
    await telling
