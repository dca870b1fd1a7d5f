"""What the wide-area link itself gives: `python -m benchmarks.wan_figures`. Under a minute.

For each loss and each congestion control of the kernel: the round trip of echo requests, and one plain TCP copy, which
no tunnel can beat.
"""

import itertools
import json
import os
import socket
import statistics
import struct
import threading
import time

from benchmarks.wan import WideArea, congestion_controls, wide_area

PINGS = 50
SECONDS = 5.0
LOSSES = (0.0, 1.0)
_CHUNK = bytes(1 << 18)


def round_trips(link: WideArea, count: int = PINGS) -> list[float]:
    """Milliseconds of the echo requests that were answered, from the agent's end."""
    with link.inside(link.agent), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(1.0)
        raw.connect((link.server.address, 0))
        return [trip for number in range(count) if (trip := _ping(raw, number)) is not None]


def _ping(raw: socket.socket, number: int) -> float | None:
    raw.send(_echo_request(os.getpid() & 0xFFFF, number))
    began = time.perf_counter()
    try:
        while True:
            packet = raw.recv(2048)
            body = packet[(packet[0] & 0xF) * 4 :]
            if body[0] == 0 and struct.unpack("!HH", body[4:8]) == (os.getpid() & 0xFFFF, number):
                return 1e3 * (time.perf_counter() - began)
    except TimeoutError:
        return None


def _echo_request(identifier: int, number: int) -> bytes:
    """ICMP (RFC 792) with the checksum of RFC 1071."""
    words = (0x0800, identifier, number)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total += total >> 16
    return struct.pack("!HHHH", 0x0800, ~total & 0xFFFF, identifier, number)


def copy_rate(link: WideArea, seconds: float = SECONDS) -> float:
    """10⁶ bit/s of one TCP connection from server to agent, after its first second."""
    with link.inside(link.server):
        listener = socket.create_server((link.server.address, 0))
    with listener, link.inside(link.agent), socket.create_connection(listener.getsockname()) as sink:
        sender = threading.Thread(target=_send, args=(listener,))
        sender.start()
        began, counted = time.monotonic(), 0
        while (now := time.monotonic()) < began + 1.0 + seconds:
            received = len(sink.recv(len(_CHUNK)))
            if now >= began + 1.0:
                counted += received
        sink.close()
        sender.join()
    return counted * 8 / 1e6 / seconds


def _send(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        try:
            while True:
                connection.sendall(_CHUNK)
        except OSError:  # the other side has seen enough
            return


def main() -> None:
    """A line a combination."""
    for loss, congestion in itertools.product(LOSSES, congestion_controls()):
        with wide_area(loss_percent=loss, congestion=congestion) as link:
            trips, rate = round_trips(link), copy_rate(link)
        print(
            f"loss {loss:g} % each way, {congestion:5}: round trip {statistics.median(trips):.1f} ms"
            f" ({len(trips)} of {PINGS} echoes), one TCP copy {rate:.0f} Mbit/s; {json.dumps(link.figures)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
