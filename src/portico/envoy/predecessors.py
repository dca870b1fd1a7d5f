"""What lets an Envoy that was replaced twice go on: Envoy's own hot restart knows one parent only.

An Envoy that makes way ends its parent at once, and with it whatever is still connected to that one. It says so over a
Unix socket that lies in a directory of ours, so somebody else can listen there and not pass it on.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

MOST_LINGERING: Final = 4
"""Each Envoy holds 60 MB and more."""
END_SECONDS: Final = 5.0
"""How long an Envoy may take to end before it is killed."""
_LOOK_SECONDS: Final = 1.0

_SLOTS: Final = 3
"""Envoys whose epochs differ by this have sockets of the same name: the later one takes it over."""
_TERMINATE: Final = b"\x0a\x02\x2a\x00"
_STATS: Final = b"\x0a\x02\x1a\x00"
_NO_STATS: Final = b"\x00\x00\x00\x00\x00\x00\x00\x04\x12\x02\x1a\x00"
"""envoy.HotRestartMessage (source/server/hot_restart.proto) behind its length, a big-endian u64."""
_LENGTH_SIZE: Final = 8
_MESSAGE_SIZE: Final = 4096

_LOCAL, _STATE, _INODE = 1, 3, 9
_LISTENING: Final = "0A"
"""Columns and a state of /proc/net/tcp (proc(5))."""


class StandIn:
    """Hears what an Envoy tells its parent, in that one's place."""

    def __init__(self, path: Path) -> None:
        self.told_to_end = asyncio.Event()
        """Whether the parent would have been ended; the Envoy says nothing any more then."""
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._loop.add_reader(self._socket, self._hear)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _hear(self) -> None:
        message, child = self._socket.recvfrom(_MESSAGE_SIZE)
        request = message[_LENGTH_SIZE:]
        if request == _STATS:  # it waits for the answer, and does nothing else meanwhile
            self._socket.sendto(_NO_STATS, child)
        elif request == _TERMINATE:
            self.told_to_end.set()


class Lingering:
    """Predecessors that no Envoy will end: each lives until nobody is connected to it any more, for a while at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._farewells: dict[asyncio.Task[None], asyncio.subprocess.Process | None] = {}

    def __contains__(self, process: object) -> bool:
        return process in self._farewells.values()

    async def add(self, process: "asyncio.subprocess.Process | None", stand_in: StandIn | None) -> None:
        """Take care of `process`, if it lives, once `stand_in` is told to end; where there are too many, one ends."""
        alive = [task for task, one in self._farewells.items() if one is not None]
        if process is not None and len(alive) >= MOST_LINGERING:
            log.warning("too many Envoys are draining: the oldest one ends")
            alive[0].cancel()
            await asyncio.wait(alive[:1])
        task = asyncio.create_task(self._see_off(process, stand_in), name="envoy-predecessor")
        self._farewells[task] = process
        task.add_done_callback(self._farewells.pop)

    async def end(self) -> None:
        """End them all now."""
        for task in list(self._farewells):
            task.cancel()
        await asyncio.gather(*self._farewells, return_exceptions=True)

    async def _see_off(self, process: "asyncio.subprocess.Process | None", stand_in: StandIn | None) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                if stand_in is not None:
                    await stand_in.told_to_end.wait()
                while process is not None and process.returncode is None and has_visitors(process.pid):
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            log.info("a draining Envoy's time is up", extra={"pid": process.pid if process else None})
        finally:
            if stand_in is not None:
                stand_in.close()
            if process is not None:
                await end(process)


def parent_socket(prefix: Path, base_id: int, epoch: int) -> Path:
    """Where the Envoy of `epoch` hears its child; `prefix` is what Envoy calls --socket-path."""
    # Envoy keeps ten times the base id in an int, and makes that an unsigned number of 64 bits.
    number = ctypes.c_uint64(ctypes.c_int32(base_id * 10).value).value
    return Path(f"{prefix}_parent_{number + epoch % _SLOTS}")


async def end(process: asyncio.subprocess.Process) -> None:
    """End an Envoy, whatever it does."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def has_visitors(pid: int) -> bool:
    """Whether a process holds TCP connections that others made to it; it counts as such where that cannot be told."""
    try:
        rows = [line.split() for name in ("tcp", "tcp6") for line in _table(pid, name)]
        held = _held(pid)
    except OSError:
        return True
    listening = {_port(row) for row in rows if row[_STATE] == _LISTENING}
    return any(
        row[_STATE] != _LISTENING and _port(row) in listening and f"socket:[{row[_INODE]}]" in held for row in rows
    )


def _held(pid: int) -> set[str]:
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held.add(os.readlink(entry))
    return held


def _table(pid: int, name: str) -> list[str]:
    path = Path(f"/proc/{pid}/net/{name}")
    return path.read_text().splitlines()[1:] if path.exists() else []


def _port(row: list[str]) -> str:
    return row[_LOCAL].rpartition(":")[2]
