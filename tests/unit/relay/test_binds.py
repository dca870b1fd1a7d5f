"""Paths that never come back, early visitors that wait, and ten thousand sockets."""

import asyncio
import os
from pathlib import Path

import pytest

from portico.model.errors import SESSION_CLOSED, PorticoError
from portico.relay.binds import Bind, SocketPaths
from portico.relay.carriage import Carriage
from portico.relay.figures import Figures
from portico.relay.link import BindLease
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import ProxyInfo
from portico.tunnel.transport import Stream


class NoSession:
    """A carrier whose session has just ended."""

    figures = Figures()
    mark = "x-mark"
    alive = False

    def open_proxy(self, lease: BindLease, address: ProxyInfo, first: bytes, handler: StreamHandler) -> Stream:
        raise PorticoError(SESSION_CLOSED, "gone")

    def unseen(self, carriage: Carriage) -> bool:
        return False

    def failure(self, bind: str) -> None:
        return None


def lease(path: str) -> BindLease:
    return BindLease(session="s", bind="b", address=path, proto="tcp", url="tcp://a:1", lease={})


def test_paths_of_two_lives_differ_and_old_ones_are_cleaned(tmp_path: Path) -> None:
    first = SocketPaths(tmp_path)
    old = [Bind(first.next()) for _ in range(3)]
    agents = tmp_path / "agents.sock"
    agents.touch()
    second = SocketPaths(tmp_path)
    second._epoch += "0"
    second.clean()
    assert os.listdir(tmp_path) == ["agents.sock"]
    assert second.next() not in [bind.path for bind in old]
    for bind in old:
        bind.close()


async def test_a_visitor_who_comes_before_the_lease_waits(tmp_path: Path) -> None:
    bind = Bind(SocketPaths(tmp_path).next())
    reader, writer = await asyncio.open_unix_connection(bind.path)
    assert not reader.at_eof()
    await bind.serve(lease(bind.path), NoSession())
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    bind.close()


async def test_a_bind_that_was_closed_while_it_began_to_serve_stays_closed(tmp_path: Path) -> None:
    bind = Bind(SocketPaths(tmp_path).next())
    bind.close()
    bind.close()
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(bind.path)


async def test_a_closed_bind_leaves_nothing(tmp_path: Path) -> None:
    bind = Bind(SocketPaths(tmp_path).next())
    await bind.serve(lease(bind.path), NoSession())
    bind.close()
    assert not os.listdir(tmp_path)


def test_a_path_that_cannot_be_bound_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Bind(str(tmp_path / "missing" / "1.sock"))
