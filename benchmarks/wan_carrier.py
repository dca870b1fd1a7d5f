"""The process that is a wide-area link: makes two network namespaces and carries the packets between them.

`wan.py` starts it with the link as JSON, and reads one JSON line: the namespaces' descriptors. They live exactly as
long as this process (and what runs in them), which ends when its standard input does, and says then what it carried.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import wire

_NEW_NET, _NEW_MOUNTS = 0x40000000, 0x00020000
_TUN_SET_IFF, _TUN_PLAIN = 0x400454CA, 0x1001  # TUNSETIFF; IFF_TUN | IFF_NO_PI (linux/if_tun.h)
_MTU = 1500
_SETTINGS = Path("/proc/sys/net/ipv4")
_LIBC = ctypes.CDLL(None, use_errno=True)

_STDIN = 0
_TICK = 0.00025
"""Seconds between two looks at a busy wire: a hundredth of the delay, and many packets a look."""
_BATCH = 256


def _unshare(what: int) -> None:
    if _LIBC.unshare(what) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def _allowed(congestion: str) -> Iterator[None]:
    """Namespaces may choose only what the machine allows to all; allowed for a moment, because a choice stays."""
    file = _SETTINGS / "tcp_allowed_congestion_control"
    before = file.read_text()
    if congestion in before.split():
        yield
        return
    file.write_text(f"{before.strip()} {congestion}")
    try:
        yield
    finally:
        with _machine_namespace():
            file.write_text(before)


@contextlib.contextmanager
def _machine_namespace() -> Iterator[None]:
    """The parent's, in which this process began."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY)
    try:
        _LIBC.setns(there, _NEW_NET)
        yield
    finally:
        _LIBC.setns(here, _NEW_NET)
        os.close(here)
        os.close(there)


def _end(own: str, other: str, congestion: str) -> tuple[int, int]:
    """A namespace with a TUN device; its descriptor, and the device's."""
    _unshare(_NEW_NET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUN_SET_IFF, struct.pack("16sH22x", b"wan", _TUN_PLAIN))
    (_SETTINGS / "tcp_congestion_control").write_text(congestion)
    Path("/proc/sys/net/ipv6/conf/wan/disable_ipv6").write_text("1")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "addr", "add", own, "peer", other, "dev", "wan")
    # A long queue of the device, so that the wire's is the one that overflows.
    _run("ip", "link", "set", "wan", "up", "mtu", str(_MTU), "txqueuelen", "20000")
    return os.open("/proc/self/ns/net", os.O_RDONLY), device


def _hosts(file: str) -> int:
    """A mount namespace in which this is the hosts file."""
    _unshare(_NEW_MOUNTS)
    _run("mount", "--make-rprivate", "/")
    _run("mount", "--bind", file, "/etc/hosts")
    return os.open("/proc/self/ns/mnt", os.O_RDONLY)


class _Carrier:
    def __init__(self, devices: tuple[int, int], path: wire.Path, seed: int) -> None:
        there, back = wire.Wire(path, seed), wire.Wire(path, seed + 1)
        self._ways = ((devices[0], there, devices[1]), (devices[1], back, devices[0]))
        self._devices = devices
        self._latest = 0.0

    def run(self) -> None:
        """Carry until standard input ends."""
        while _STDIN not in (ready := self._wait()):
            now = time.monotonic()
            for source, way, sink in self._ways:
                if source in ready:
                    _take(source, way, now)
                due = way.next_due
                if due is not None and due <= now:
                    self._latest = max(self._latest, now - due)
                    for packet in way.leave(now):
                        os.write(sink, packet)

    def _wait(self) -> list[int]:
        """Until a packet comes or is due; a tick at least while packets fly."""
        dues = [due for _, way, _ in self._ways if (due := way.next_due) is not None]
        timeout = None
        if dues:
            # One wait for many packets: a wait a packet would cost more than the packets.
            time.sleep(_TICK)
            timeout = max(0.0, min(dues) - time.monotonic())
        return select.select([_STDIN, *self._devices], [], [], timeout)[0]

    def figures(self) -> dict[str, float]:
        """What was carried, both ways together; the longest that a packet was delivered late, in milliseconds."""
        ways = [way for _, way, _ in self._ways]
        return {
            "carried": sum(way.carried for way in ways),
            "lost": sum(way.lost for way in ways),
            "overflowed": sum(way.overflowed for way in ways),
            "latest_ms": 1e3 * self._latest,
            "cpu_seconds": time.process_time(),
        }


def _take(device: int, way: wire.Wire, now: float) -> None:
    with contextlib.suppress(BlockingIOError):
        for _ in range(_BATCH):
            way.enter(os.read(device, 2048), now)


def main() -> None:
    """Make it, say so, carry, say what was carried."""
    link = json.loads(sys.argv[1])
    near, far = link["addresses"]
    with _allowed(link["congestion"]):
        server = _end(near, far, link["congestion"])
        agent = _end(far, near, link["congestion"])
    mounts = _hosts(link["hosts"])
    print(json.dumps({"server": server[0], "agent": agent[0], "mounts": mounts}), flush=True)
    os.nice(-10)  # a router does not wait for the processors of its neighbours
    carrier = _Carrier((server[1], agent[1]), wire.Path(**link["path"]), link["seed"])
    carrier.run()
    print(json.dumps(carrier.figures()), flush=True)


if __name__ == "__main__":
    main()
