import asyncio
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.agent.names import is_loopback_name, resolve
from portico.agent.network import _read, watched


def changes(*messages: bytes) -> int:
    """How often news is told of what a netlink socket holds."""
    told: list[bool] = []
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        for message in messages:
            far.send(message)
        _read(near, lambda: told.append(True))
    return len(told)


def test_what_appears_is_news_and_what_goes_is_not() -> None:
    def message(kind: int) -> bytes:
        return struct.pack("=IHHII", 16, kind, 0, 0, 0)

    assert changes(message(20)) == 1
    assert changes(message(24), message(16)) == 1
    assert changes(message(21), message(25), message(17)) == 0


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_any_message_is_borne(messages: list[bytes]) -> None:
    assert changes(*messages) in (0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
async def test_watching_leaves_nothing_behind() -> None:
    with watched(lambda: None):
        await asyncio.sleep(0)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "connect.localhost", "a.b.localhost."])
async def test_localhost_is_loopback_without_a_resolver(host: str) -> None:
    assert is_loopback_name(host)
    assert [address for _, address in await resolve(host, 443)] == [("127.0.0.1", 443), ("::1", 443)]


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "notlocalhost", "127.0.0.1", ""])
def test_other_names_are_not(host: str) -> None:
    assert not is_loopback_name(host)


async def test_addresses_stay_as_they_are() -> None:
    assert await resolve("192.0.2.1", 443) == [(socket.AF_INET, ("192.0.2.1", 443))]
