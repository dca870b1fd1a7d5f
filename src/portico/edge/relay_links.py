"""Control's side of the links to the relays (messages: `relay/link.py`)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from portico.relay.link import (
    AgentAnswer,
    AgentCommand,
    Collect,
    Figures,
    FromControl,
    FromRelay,
    Hello,
    LinkError,
    MessageReader,
    SessionEnded,
    pack,
)

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
"""How long a relay, or the agent behind it, may take to answer a command."""


class RelayLinks:
    """Listens for relays; hands what they say to `on_message` and what control says to them."""

    def __init__(
        self,
        path: Path,
        on_hello: Callable[[Hello], None],
        on_message: Callable[[str, FromRelay], Awaitable[FromControl | None]],
    ) -> None:
        """`on_message(relay, message)` returns the reply, if the message is a question."""
        self._path = path
        self._on_hello = on_hello
        self._on_message = on_message
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._waiting: dict[int, asyncio.Future[Figures | AgentAnswer]] = {}
        self._next_id = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def relays(self) -> frozenset[str]:
        """Names of the relays that are connected and have said hello."""
        return frozenset(self._writers)

    async def start(self) -> None:
        """Listen; a socket file that a dead control left is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def close(self) -> None:
        """Stop listening and close all links; the relays keep their sessions and try again."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers.values():
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, relay: str, message: FromControl) -> None:
        """Tell a relay; nothing happens where it is gone, for its sessions are gone with it."""
        writer = self._writers.get(relay)
        if writer is not None:
            writer.write(pack(message))

    async def figures(self) -> dict[str, dict[str, float]]:
        """The figures of each connected relay, by name; a relay that does not answer is left out."""
        answers = await asyncio.gather(*(self._ask(relay, Collect(self._new_id())) for relay in self._writers))
        return {
            relay: answer.values
            for relay, answer in zip(self._writers, answers, strict=False)
            if isinstance(answer, Figures)
        }

    async def command(self, relay: str, session: str, command: str, body: dict[str, object]) -> str:
        """Send an agent a Stop, Restart or Update; returns the agent's error text, empty on success."""
        answer = await self._ask(relay, AgentCommand(self._new_id(), session, command, body))
        return answer.error if isinstance(answer, AgentAnswer) else "the agent did not answer"

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    async def _ask(self, relay: str, question: Collect | AgentCommand) -> Figures | AgentAnswer | None:
        future: asyncio.Future[Figures | AgentAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[question.id] = future
        self.send(relay, question)
        try:
            return await asyncio.wait_for(future, ANSWER_SECONDS)
        except TimeoutError:
            return None
        finally:
            del self._waiting[question.id]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages: MessageReader[FromRelay] = MessageReader(FromRelay)
        relay = None
        try:
            while data := await reader.read(1 << 16):
                for message in messages.feed(data):
                    relay = await self._receive(relay, message, writer)
        except (LinkError, ConnectionError) as error:
            log.warning("relay link broken", extra={"relay": relay, "reason": str(error)})
        finally:
            if relay is not None and self._writers.get(relay) is writer:
                del self._writers[relay]
            writer.close()

    async def _receive(self, relay: str | None, message: FromRelay, writer: asyncio.StreamWriter) -> str | None:
        if isinstance(message, Hello):
            self._on_hello(message)
            self._writers[message.relay] = writer
            return message.relay
        if relay is None:
            raise LinkError("the first message was no hello")
        if isinstance(message, Figures | AgentAnswer):
            self._resolve(message)
        else:
            await self._dispatch(relay, message, writer)
        return relay

    async def _dispatch(self, relay: str, message: FromRelay, writer: asyncio.StreamWriter) -> None:
        # What ends a session is done in order; what waits for Envoy runs beside the next message.
        if isinstance(message, SessionEnded):
            await self._on_message(relay, message)
            return
        task = asyncio.get_running_loop().create_task(self._answer(relay, message, writer), name=f"link-{relay}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, relay: str, message: FromRelay, writer: asyncio.StreamWriter) -> None:
        reply = await self._on_message(relay, message)
        if reply is not None and not writer.is_closing():
            writer.write(pack(reply))

    def _resolve(self, answer: Figures | AgentAnswer) -> None:
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)
