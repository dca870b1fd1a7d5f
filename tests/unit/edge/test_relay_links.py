"""Control's side of the link, with the bytes of a relay written by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from portico.edge.relay_links import RelayLinks
from portico.relay.link import (
    AgentAnswer,
    AgentCommand,
    CloseSession,
    Collect,
    Figures,
    FromControl,
    FromRelay,
    Hello,
    MessageReader,
    Reply,
    ServerInfo,
    SessionEnded,
    pack,
)


class Relay:
    """One scripted relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._messages: MessageReader[FromControl] = MessageReader(FromControl)
        self._pending: list[FromControl] = []

    def say(self, message: FromRelay) -> None:
        self.writer.write(pack(message))

    async def hear(self) -> FromControl:
        while not self._pending:
            data = await self.reader.read(1 << 16)
            assert data, "control closed the link"
            self._pending += self._messages.feed(data)
        return self._pending.pop(0)


class Ears:
    """What control heard."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.heard: list[FromRelay] = []

    async def answer(self, _: str, message: FromRelay) -> FromControl | None:
        self.heard.append(message)
        return Reply(message.id, {"Region": "test"}) if isinstance(message, ServerInfo) else None


@asynccontextmanager
async def links(directory: Path, ears: Ears) -> AsyncIterator[RelayLinks]:
    served = RelayLinks(directory / "c.sock", ears.hellos.append, ears.answer)
    await served.start()
    try:
        yield served
    finally:
        await served.close()


@asynccontextmanager
async def relay(directory: Path, name: str = "r0", *, hello: bool = True) -> AsyncIterator[Relay]:
    reader, writer = await asyncio.open_unix_connection(directory / "c.sock")
    connected = Relay(reader, writer)
    if hello:
        connected.say(Hello(relay=name, pid=1, sessions=[], binds=[]))
    try:
        yield connected
    finally:
        writer.close()


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_questions_are_answered_under_their_id(tmp_path: Path) -> None:
    ears = Ears()
    async with links(tmp_path, ears), relay(tmp_path) as connected:
        connected.say(ServerInfo(7, "s1"))
        assert await connected.hear() == Reply(7, {"Region": "test"})
        connected.say(SessionEnded("s1", "gone"))
        await until(lambda: ears.heard[-1:] == [SessionEnded("s1", "gone")])


async def test_commands_reach_the_named_relay_alone_and_answers_return(tmp_path: Path) -> None:
    ears = Ears()
    async with links(tmp_path, ears) as served, relay(tmp_path) as first, relay(tmp_path, "r1") as second:
        await until(lambda: served.relays == {"r0", "r1"})
        served.send("r1", CloseSession("s", "x"))
        served.send("unknown", CloseSession("s", "x"))
        assert await second.hear() == CloseSession("s", "x")
        asked = asyncio.create_task(served.command("r0", "s1", "stop", {}))
        order = await first.hear()
        assert isinstance(order, AgentCommand)
        first.say(AgentAnswer(order.id, "not now"))
        assert await asked == "not now"


async def test_figures_of_the_relays_that_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.edge.relay_links.ANSWER_SECONDS", 0.2)
    ears = Ears()
    async with links(tmp_path, ears) as served, relay(tmp_path) as first, relay(tmp_path, "r1"):
        await until(lambda: served.relays == {"r0", "r1"})
        asked = asyncio.create_task(served.figures())
        question = await first.hear()
        assert isinstance(question, Collect)
        first.say(Figures(question.id, {"streams": 3}))
        assert await asked == {"r0": {"streams": 3}}


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\x04nope", pack(ServerInfo(1, "before the hello"))],
    ids=["too long", "no type", "no JSON", "no hello"],
)
async def test_a_broken_link_is_closed_and_the_others_stay(tmp_path: Path, garbage: bytes) -> None:
    ears = Ears()
    async with links(tmp_path, ears) as served, relay(tmp_path) as good, relay(tmp_path, hello=False) as bad:
        bad.writer.write(garbage)
        assert await bad.reader.read() == b""
        good.say(ServerInfo(1, "s"))
        assert isinstance(await good.hear(), Reply)
        assert served.relays == {"r0"}


async def test_a_relay_that_returns_takes_the_place_of_its_old_link(tmp_path: Path) -> None:
    ears = Ears()
    async with links(tmp_path, ears) as served:
        async with relay(tmp_path):
            await until(lambda: len(ears.hellos) == 1)
            async with relay(tmp_path) as again:
                await until(lambda: len(ears.hellos) == 2)
                served.send("r0", CloseSession("s", "x"))
                assert await again.hear() == CloseSession("s", "x")
        await until(lambda: not served.relays)
