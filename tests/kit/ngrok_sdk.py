"""The official ngrok Python SDK as an agent, in a process of its own (its session is one for the whole process).

Run as a program it obeys lines on standard input, each a JSON list [verb, ...], and answers each with one JSON line.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any


class SdkAgent:
    """A process that runs this file."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *command: Any) -> Any:
        """Send one command and return the answer. Raises AssertionError with the SDK's error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 60))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def forward(self, address: str, **options: Any) -> str:
        """The URL of a new listener."""
        url: str = await self.ask("forward", address, options)
        return url


@contextlib.asynccontextmanager
async def sdk_agent(server: str, ca: Path, authtoken: str = "test-token") -> AsyncIterator[SdkAgent]:
    """Start the SDK towards an edge."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, server, str(ca), authtoken,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield SdkAgent(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _main(server: str, ca: str, authtoken: str) -> None:
    import ngrok

    loop = asyncio.get_running_loop()
    builder = ngrok.SessionBuilder().authtoken(authtoken).server_addr(server).root_cas(ca)
    session: Any = None
    listeners: list[Any] = []

    async def forward(address: str, options: dict[str, Any]) -> str:
        nonlocal session
        if session is None:
            beat = options.pop("heartbeat", None)
            session = await (builder.heartbeat_interval(beat).heartbeat_tolerance(beat) if beat else builder).connect()
        kind = options.pop("proto", "http")
        listener = {
            "http": session.http_endpoint,
            "tcp": session.tcp_endpoint,
            "tls": session.tls_endpoint,
        }[kind]()
        for name, value in options.items():
            listener = getattr(listener, name)(value)
        listeners.append(await listener.listen_and_forward(address))
        return str(listeners[-1].url())

    async def close(number: int) -> None:
        await listeners[number].close()

    async def close_session() -> None:
        await session.close()

    verbs: dict[str, Any] = {"forward": forward, "close": close, "close_session": close_session}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, *arguments = json.loads(line)
        try:
            answer = {"result": await verbs[verb](*arguments)}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
