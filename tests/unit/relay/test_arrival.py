"""Who comes to the agents' socket: agents are let in, others are told where they are, nonsense is cut."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.scripted_agent import ADDRESS
from portico.relay import limits
from portico.relay.arrival import Arrival, begins_session
from portico.tunnel.proxy_protocol import ProxyInfo
from portico.tunnel.session import Session


def first_bytes() -> bytes:
    session = Session(client=True, now=0.0)
    session.open(0, b"{}")
    return b"".join(map(bytes, session.data_to_send(0.0)))


HELLO = first_bytes()


class Door:
    """A listening socket with an Arrival for each connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.welcomed: list[tuple[str, bytes]] = []
        self.left = 0
        self.refused = False

    def _welcome(self, transport: asyncio.Transport, remote: str, received: bytes) -> None:
        self.welcomed.append((remote, received))
        transport.close()

    def _leave(self) -> None:
        self.left += 1

    def arrive(self) -> Arrival:
        return Arrival(self._welcome, self._leave, refused=self.refused)

    async def say(self, *pieces: bytes) -> bytes:
        """Send pieces one by one; returns what came back until the end."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        try:
            return await asyncio.wait_for(reader.read(), 30)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    opened = Door(tmp_path / "agents.sock")
    server = await asyncio.get_running_loop().create_unix_server(opened.arrive, opened.path)
    yield opened
    server.close()


async def test_an_agent_is_welcomed_with_its_address_and_its_first_bytes(door: Door) -> None:
    raw = ADDRESS.encode(2) + HELLO
    await door.say(raw[:5], raw[5:30], raw[30:33], raw[33:])
    assert door.welcomed == [("192.0.2.1:40001", HELLO)]


async def test_http_without_a_server_name_gets_a_421_that_explains(door: Door) -> None:
    answer = await door.say(ADDRESS.encode(2) + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"for agents" in answer
    assert (door.welcomed, door.left) == ([], 1)


async def test_a_connection_without_the_proxy_header_is_cut(door: Door) -> None:
    assert await door.say(HELLO) == b""
    assert door.welcomed == []


async def test_an_address_that_is_not_told_is_empty(door: Door) -> None:
    await door.say(ProxyInfo().encode(2) + HELLO)
    assert door.welcomed == [("", HELLO)]


async def test_who_says_nothing_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUTH_SECONDS", 0.05)
    assert await door.say(ADDRESS.encode(2)) == b""
    assert door.left == 1


async def test_beyond_the_limit_nobody_is_let_in(door: Door) -> None:
    door.refused = True
    assert await door.say(ADDRESS.encode(2) + HELLO) == b""
    assert door.welcomed == []


@pytest.mark.parametrize(
    "line", ["GET / HTTP/1.1", "POST /a", "PRI * HTTP/2.0", "SSH-2.0-x", "HEAD / HTTP", "OPTIONS * H"]
)
def test_other_protocols_do_not_look_like_an_agents(line: str) -> None:
    assert not begins_session(line.encode())
