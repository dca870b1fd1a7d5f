"""One stream that is not read, among busy ones."""

import contextlib
import socket
import time
from collections.abc import Iterator

from benchmarks import load
from benchmarks.comparison import Sample, Work
from benchmarks.peers.bodies import rate
from benchmarks.peers.stage import Way
from benchmarks.peers.tunnel import Target
from benchmarks.peers.unit import Size, Unit

_BUSY = 16
_FILL_SECONDS = 0.5

STALLED = Work(
    "stalled",
    "What one stalled stream costs the others",
    f"A visitor asks for a body without an end and stops reading, so that everything on its way fills up. The rate of "
    f"{_BUSY} others through the same agent with it, as a share of the one just before without it: {_BUSY} connections "
    "that ask for small answers, and as many that load large bodies.",
    "% of the rate without it",
    "higher",
)


@contextlib.contextmanager
def stalled_visitor(target: Target) -> Iterator[None]:
    """Asks, and reads the head only."""
    with socket.socket() as visitor:
        # As small as the kernel has it, so that little of the body is hidden in the visitor's own buffer.
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        visitor.settimeout(10)
        visitor.connect((target.address, target.port))
        visitor.sendall(f"GET /endless HTTP/1.1\r\nhost: {target.host}:{target.port}\r\n\r\n".encode())
        if not visitor.recv(64).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the body that shall stall does not begin")
        time.sleep(_FILL_SECONDS)
        yield


def _asking(way: Way, size: Size) -> Iterator[Sample]:
    url = f"{way.targets['small'].url}/"
    before = load.requests(url, _BUSY, size.seconds).rate
    with stalled_visitor(way.targets["bulk"]):
        during = load.requests(url, _BUSY, size.seconds).rate
    yield Sample(STALLED.name, f"{_BUSY} asking", way.name, 100 * during / before)


def _loading(way: Way, size: Size) -> Iterator[Sample]:
    before = rate(way, "down", _BUSY, size.seconds)
    with stalled_visitor(way.targets["bulk"]):
        during = rate(way, "down", _BUSY, size.seconds)
    yield Sample(STALLED.name, f"{_BUSY} loading", way.name, 100 * during / before)


UNITS = (Unit("stalled", (STALLED,), (_asking, _loading), service="bulk", rounds=2, quick=1),)
