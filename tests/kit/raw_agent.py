"""An agent that speaks frames one by one, for what a well-behaved session would never do or show."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from kit.scripted_agent import ADDRESS
from portico.tunnel import frames
from portico.tunnel.frames import SYN, FrameReader
from portico.tunnel.messages import StreamKind

Frame = tuple[int, int, int, Any]
"""Type, flags, stream, value."""


class RawAgent:
    """Frames over a relay's agents' socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._read: list[Frame] = []

    @classmethod
    async def connect(cls, path: Path) -> "RawAgent":
        """Arrive as Envoy would announce it."""
        agent = cls(*await asyncio.open_unix_connection(path))
        agent._writer.write(ADDRESS.encode(2))
        return agent

    def send(self, *raw: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(b"".join(raw))

    def open(self, stream: int, kind: int, body: bytes = b"") -> None:
        """Open a stream without finishing it, as Rust SDKs do."""
        payload = kind.to_bytes(4, "big") + body
        self.send(frames.data_header(stream, len(payload), SYN), payload)

    def data(self, stream: int, payload: bytes, flags: int = 0) -> None:
        """DATA on a stream that is open."""
        self.send(frames.data_header(stream, len(payload), flags), payload)

    async def authenticate(self, agent: str = "raw", **extra: object) -> dict[str, Any]:
        """Auth on stream 3; returns the answer."""
        body = {"Version": ["3"], "ClientId": "", "Extra": {"UserAgent": agent, **extra}}
        self.open(3, StreamKind.AUTH, json.dumps(body).encode())
        answer: dict[str, Any] = json.loads((await self.next_data(3))[3])
        return answer

    async def next(self) -> Frame | None:
        """The next frame, None at the end of the connection."""
        async with asyncio.timeout(30):
            while not self._read:
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = await self._reader.read(65536)
                if not data:
                    return None
                self._read += self._frames.frames(data)
        return self._read.pop(0)

    async def next_data(self, stream: int) -> Frame:
        """The next DATA of a stream; other frames are skipped."""
        while frame := await self.next():
            if frame[0] == frames.DATA and frame[2] == stream:
                return frame
        raise AssertionError("the connection ended")

    async def until_closed(self) -> list[Frame]:
        """All frames up to the end of the connection."""
        seen = []
        while frame := await self.next():
            seen.append(frame)
        return seen

    def close(self) -> None:
        """Leave."""
        self._writer.close()
