"""The SDK inside the servers that people use: what listens on a listener's socket, what is started beside it."""

import asyncio
import http.server
import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import portico
from kit.edge import RunningEdge
from kit.visit import visit, visit_async

pytestmark = pytest.mark.usefixtures("sdk_environment")


async def test_uvicorn_with_fastapi_on_the_listeners_socket(edge: RunningEdge) -> None:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{number}")
    def item(number: int) -> dict[str, int]:
        return {"item": number}

    listener = await portico.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener.socket]))
    answer = await visit_async(edge, listener.url(), "/items/7")
    assert answer.json() == {"item": 7}
    server.should_exit = True
    await serving
    await listener.close()


async def test_fastapi_that_opens_its_own_front_door(edge: RunningEdge) -> None:
    """The lifespan of an application runs in its event loop."""
    import socket
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import uvicorn
    from fastapi import FastAPI

    sock = socket.create_server(("127.0.0.1", 0))
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with await portico.forward(sock.getsockname()[1]) as listener:
            opened.set_result(listener.url())
            yield

    app = FastAPI(lifespan=lifespan)
    app.get("/")(lambda: "from fastapi")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    assert (await visit_async(edge, await opened)).json() == "from fastapi"
    server.should_exit = True
    await serving
    assert portico.get_listeners() == []


def test_flask(edge: RunningEdge) -> None:
    from flask import Flask
    from werkzeug.serving import make_server

    app = Flask(__name__)
    app.get("/")(lambda: "from flask")
    listener = portico.listen()
    server = make_server(f"unix://{listener.getsockname()}", 0, app, threaded=True, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert visit(edge, listener.url()).text == "from flask"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DJANGO = """
import django, portico, sys, threading
from django.conf import settings
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", LOGGING_CONFIG=None)
urlpatterns = [path("", lambda request: HttpResponse("from django " + request.get_host()))]
server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
print(portico.listen(server).url(), flush=True)
sys.stdin.read()
"""


def test_django(edge: RunningEdge, tmp_path: Path) -> None:
    script = tmp_path / "site_of_django.py"
    script.write_text(DJANGO)
    with subprocess.Popen(
        [sys.executable, str(script)], env=edge.agent_environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = visit(edge, url)
        assert answer.text.startswith("from django ")
        process.communicate(timeout=60)


def test_the_standard_librarys_server(edge: RunningEdge) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from http.server")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert visit(edge, portico.listen(server).url()).text == "from http.server"
        server.shutdown()
        thread.join()


def test_a_socketserver_on_the_listeners_socket(edge: RunningEdge) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\nfrom socketserver")

    listener = portico.listen()
    server = socketserver.UnixStreamServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener.socket
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert visit(edge, listener.url()).text == "from socketserver"
    thread.join()


async def test_visitors_as_streams(edge: RunningEdge) -> None:
    listener = await portico.listen(proto="tcp")

    async def serve() -> int:
        served = 0
        async for reader, writer in listener:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nfrom streams")
            writer.close()
            served += 1
        return served

    serving = asyncio.create_task(serve())
    assert (await visit_async(edge, listener.url())).text == "from streams"
    await listener.close()
    assert await asyncio.wait_for(serving, 30) == 1


def test_accepting_in_plain_code(edge: RunningEdge) -> None:
    listener = portico.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nfrom accept")

    thread = threading.Thread(target=serve)
    thread.start()
    assert visit(edge, listener.url()).text == "from accept"
    thread.join()


NOTEBOOK = """
import ast, asyncio, json, sys
cells = json.load(sys.stdin)
space = {}
async def notebook():
    # As IPython does it: each cell is compiled with top-level await and run inside the kernel's loop.
    for cell in cells:
        code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        pending = eval(code, space)
        if pending is not None:
            await pending
asyncio.run(notebook())
"""


def test_a_notebook(edge: RunningEdge) -> None:
    cells = [
        "import portico, http.server, threading",
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)",
        "listener = await portico.forward(server.server_address[1])",
        "print(listener.url())",
        "await listener.close()",
        "print(portico.get_listeners())",
    ]
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], env=edge.agent_environment, input=json.dumps(cells),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    url, listeners = done.stdout.splitlines()
    assert url.startswith("https://")
    assert listeners == "[]"
