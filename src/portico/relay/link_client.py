"""The relay's end of the link: one connection to control that is kept up for ever, whatever becomes of control.

A question asked while control is away waits for its return, because an agent whose RPC fails may stay away for minutes
(ngrok's Rust SDKs wait 128 s after their third failed attempt). A question that the last control did not answer goes to
the next one again.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Final

from portico.model.errors import EDGE_BUSY, PorticoError
from portico.relay import link

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 20.0
"""How long an agent's request waits for an answer of control, restarts of control included."""
RETRY_SECONDS: Final = 0.1
"""Pause between attempts to connect: a Unix socket of the same node costs nothing to try."""
_READ_SIZE: Final = 1 << 18

Question = link.Authenticate | link.Bind | link.Unbind | link.Patch | link.ServerInfo | link.SshQuestion
Command = link.CloseSession | link.StopBind | link.AgentCommand | link.Collect | link.Drain


class LinkClient:
    """Asks control, and gives its commands to `obey`. `hello` tells all that the relay holds."""

    def __init__(self, path: str, hello: Callable[[], link.Hello], obey: Callable[[Command], None]) -> None:
        self._path = path
        self._hello = hello
        self._obey = obey
        self._ids = itertools.count(1)
        self._open: dict[int, tuple[Question, asyncio.Future[link.Reply]]] = {}
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        """Whether control is there."""
        return self._writer is not None

    def next_id(self) -> int:
        """A new id for a question."""
        return next(self._ids)

    async def ask(self, question: Question) -> link.Reply:
        """Control's answer. Raises PorticoError(EDGE_BUSY) when there is none in time."""
        answer: asyncio.Future[link.Reply] = asyncio.get_running_loop().create_future()
        self._open[question.id] = question, answer
        self.tell(question)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await answer
        except TimeoutError:
            raise PorticoError(EDGE_BUSY, "The edge did not answer in time.") from None
        finally:
            self._open.pop(question.id, None)

    def tell(self, message: link.FromRelay) -> None:
        """Send `message` if control is there; `Hello` says everything that it missed."""
        if self._writer is not None:
            self._writer.write(link.pack(message))

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                await self._serve(reader, writer)
            except (OSError, link.LinkError) as error:
                log.warning("link to control failed", extra={"reason": str(error)})
            finally:
                self._writer = None
                writer.close()
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        hello = self._hello()
        self.tell(hello)
        for question, _ in self._open.values():
            self.tell(question)
        log.info("linked to control", extra={"sessions": len(hello.sessions), "binds": len(hello.binds)})
        messages: link.MessageReader[link.FromControl] = link.MessageReader(link.FromControl)
        while data := await reader.read(_READ_SIZE):
            for message in messages.feed(data):
                self._take(message)
        log.info("control went away")

    def _take(self, message: link.FromControl) -> None:
        if not isinstance(message, link.Reply):
            self._obey(message)
            return
        asked = self._open.get(message.id)
        if asked is None:
            self._give_back(message)
        elif not asked[1].done():
            asked[1].set_result(message)

    def _give_back(self, late: link.Reply) -> None:
        """Undo what control granted after the agent was already told that it failed."""
        if late.bind is not None:
            self.tell(link.Unbind(id=self.next_id(), session=late.bind.session, bind=late.bind.bind))
        if late.session is not None:
            self.tell(link.SessionEnded(session=late.session.session, reason="granted too late"))
