"""An application that is made by its first request, behind a real web server."""

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from portico.edge.web_server import OnFirstRequest, served


async def test_it_is_made_once_and_nobody_else_waits_meanwhile(run_dir: Path) -> None:
    made: list[int] = []
    go_on = threading.Event()

    def make() -> ASGIApp:
        made.append(1)
        assert go_on.wait(60)
        return PlainTextResponse("hello")

    path = str(run_dir / "api.sock")
    transport = httpx.AsyncHTTPTransport(uds=path)
    async with served(OnFirstRequest(make), uds=path), httpx.AsyncClient(transport=transport, timeout=60) as client:
        await _until_it_listens(path)
        assert made == []
        asking = [asyncio.create_task(client.get("http://api/")) for _ in range(3)]
        while not made:
            await asyncio.sleep(0.01)  # were it made in the loop, this would be the end
        go_on.set()
        assert [answer.text for answer in await asyncio.gather(*asking)] == ["hello"] * 3
        assert (await client.get("http://api/")).text == "hello"
    assert made == [1]


async def _until_it_listens(path: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(path) == 0:
                    return
            await asyncio.sleep(0.01)


def test_control_starts_without_the_api() -> None:
    command = "import portico.edge.control, sys; print('fastapi' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
    assert told.stdout == "False\n"
