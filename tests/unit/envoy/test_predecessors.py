"""What keeps an Envoy alive that was replaced twice, without an Envoy."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from portico.envoy.predecessors import Lingering, StandIn, has_visitors, parent_socket

STATS, TERMINATE = b"\x0a\x02\x1a\x00", b"\x0a\x02\x2a\x00"
LENGTH = (4).to_bytes(8, "big")


class Child:
    """An Envoy's side of the socket."""

    def __init__(self, directory: Path) -> None:
        self.parent = directory / "hot_parent_1"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(directory / "hot_child_2"))

    def say(self, request: bytes) -> None:
        self.socket.sendto(LENGTH + request, str(self.parent))


@pytest.fixture
async def child(tmp_path):
    child = Child(tmp_path)
    yield child
    child.socket.close()


async def sleeping_process() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")


class TestStandIn:
    async def test_answers_a_question_and_keeps_the_end_to_itself(self, child: Child):
        child.parent.write_text("whoever was there")
        stand_in = StandIn(child.parent)
        child.say(STATS)
        answer = await asyncio.get_running_loop().sock_recv(child.socket, 100)
        assert answer == LENGTH + b"\x12\x02\x1a\x00"
        assert not stand_in.told_to_end.is_set()
        child.say(b"\x0a\x02\x22\x00")
        child.say(TERMINATE)
        await stand_in.told_to_end.wait()
        child.say(TERMINATE)
        stand_in.close()

    @pytest.mark.parametrize(
        ("base_id", "epoch", "number"),
        [(0, 0, 0), (7, 5, 72), (214_748_364, 3, 2_147_483_640), (250_000_000, 1, 18_446_744_071_914_584_321)],
    )
    def test_knows_the_name_of_envoy_s_socket(self, base_id: int, epoch: int, number: int):
        assert parent_socket(Path("/run/hot"), base_id, epoch) == Path(f"/run/hot_parent_{number}")


class TestLingering:
    async def test_ends_who_has_no_visitors_once_it_would_have_been_ended(self, child: Child):
        lingering = Lingering(600)
        process = await sleeping_process()
        await lingering.add(process, StandIn(child.parent))
        assert process in lingering
        await asyncio.sleep(0)
        assert process.returncode is None
        child.say(TERMINATE)
        await process.wait()
        while process in lingering:
            await asyncio.sleep(0)

    async def test_ends_who_is_never_ended_when_the_time_is_up(self, child: Child):
        lingering = Lingering(0.01)
        process = await sleeping_process()
        await lingering.add(process, StandIn(child.parent))
        await process.wait()

    async def test_needs_no_parent_alive(self, child: Child):
        """The one that makes way would fail if nobody heard it."""
        lingering = Lingering(600)
        await lingering.add(None, StandIn(child.parent))
        child.say(TERMINATE)
        await lingering.end()

    async def test_ends_all_with_the_edge(self, child: Child):
        lingering = Lingering(600)
        process = await sleeping_process()
        await lingering.add(process, StandIn(child.parent))
        await asyncio.sleep(0)
        await lingering.end()
        assert process.returncode is not None


class TestVisitors:
    def test_are_those_who_came_to_a_listening_socket(self):
        assert not has_visitors(os.getpid())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            assert not has_visitors(os.getpid())
            with socket.create_connection(listening.getsockname()) as visitor, listening.accept()[0]:
                assert has_visitors(os.getpid())
                visitor.close()
                assert has_visitors(os.getpid())
            assert not has_visitors(os.getpid())

    def test_may_be_there_where_nobody_can_look(self):
        assert has_visitors(2**30)
