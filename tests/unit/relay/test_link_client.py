"""The link survives whatever becomes of control, and a question outlives the control that did not answer it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.control import ScriptedControl
from portico.model.errors import EDGE_BUSY, PorticoError
from portico.relay import link, link_client
from portico.relay.link_client import LinkClient

HELLO = link.Hello(relay="r0", pid=1, sessions=[], binds=[])


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ScriptedControl]:
    scripted = ScriptedControl(tmp_path)
    yield scripted
    await scripted.stop()


@contextlib.asynccontextmanager
async def connected(control: ScriptedControl) -> AsyncIterator[tuple[LinkClient, list[link_client.Command]]]:
    orders: list[link_client.Command] = []
    client = LinkClient(str(control.path), lambda: HELLO, orders.append)
    task = asyncio.create_task(client.run())
    yield client, orders
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def question(client: LinkClient) -> link.Bind:
    return link.Bind(id=client.next_id(), session="s", address="/a.sock", labelled=False, body={})


async def test_a_question_waits_for_a_control_that_is_not_there_yet(control: ScriptedControl) -> None:
    async with connected(control) as (client, _):
        asking = asyncio.create_task(client.ask(question(client)))
        await asyncio.sleep(0.3)
        await control.start()
        assert (await asking).bind is not None
        assert type(control.seen[0]) is link.Hello


async def test_a_question_goes_to_the_next_control_if_the_last_did_not_answer(control: ScriptedControl) -> None:
    control.deaf = True
    await control.start()
    async with connected(control) as (client, _):
        asking = asyncio.create_task(client.ask(question(client)))
        await control.wait_for(link.Bind)
        await control.stop()
        control.deaf = False
        await control.start()
        assert (await asking).bind is not None
        assert len(control.all(link.Hello)) == 2


async def test_without_an_answer_in_time_the_edge_is_busy(
    control: ScriptedControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_client, "ASK_SECONDS", 0.05)
    async with connected(control) as (client, _):
        with pytest.raises(PorticoError) as caught:
            await client.ask(question(client))
    assert caught.value.code is EDGE_BUSY


async def test_a_bind_that_is_granted_too_late_is_given_back(
    control: ScriptedControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_client, "ASK_SECONDS", 0.05)
    control.deaf = True
    await control.start()
    async with connected(control) as (client, _):
        with pytest.raises(PorticoError):
            await client.ask(question(client))
        asked = await control.wait_for(link.Bind)
        late = control.answer(asked)
        assert late is not None
        assert late.bind is not None
        control.send(late)
        assert (await control.wait_for(link.Unbind)).bind == late.bind.bind


async def test_garbage_ends_the_connection_and_a_new_one_is_made(control: ScriptedControl) -> None:
    await control.start()
    async with connected(control):
        await control.wait_for(link.Hello)
        for writer in control._writers:
            writer.write(b"\xff\xff\xff\xff")
        await control.wait_for(link.Hello, 2)


async def test_commands_are_obeyed_in_order(control: ScriptedControl) -> None:
    await control.start()
    async with connected(control) as (_, orders):
        await control.wait_for(link.Hello)
        commands = [link.Collect(id=1), link.CloseSession(session="s", reason="r"), link.Drain(grace=1.0)]
        for command in commands:
            control.send(command)
        async with asyncio.timeout(30):
            while len(orders) < 3:
                await asyncio.sleep(0.01)
        assert orders == commands
