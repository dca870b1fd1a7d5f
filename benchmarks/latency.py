"""Latency at a fixed rate: an open loop, so that what a stall delays is counted as late (coordinated omission)."""

import contextlib
import queue
import select
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure, percentile

CONNECTIONS = 64
PERCENTS = (50, 99, 99.9)
_PATIENCE = 30.0


class OpenLoop:
    """Sends a request at each intended time, on a connection that is free; waits for one where none is.

    A thread sends, for its clock is finer than an event loop's milliseconds; the caller's thread receives.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        """`tls` for an https URL, whose host is the server name."""
        parts = urlsplit(url)
        self._request = f"GET / HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._intended: dict[int, float] = {}
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", parts.port or 0))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_hostname=parts.hostname)
            self._sockets[connection.fileno()] = connection
            connection.sendall(self._request)
            self._size = _answer_size(connection)
            self._poll.register(connection.fileno(), select.EPOLLIN)
            self._free.put(connection)

    def run(self, rate: int, seconds: float) -> list[float]:
        """Seconds from each intended time to the end of its answer. Raises where an answer is missing."""
        count = int(rate * seconds)
        sender = threading.Thread(target=self._send, args=(rate, count), daemon=True)
        latencies: list[float] = []
        received: dict[int, int] = {}
        sender.start()
        while len(latencies) < count:
            ready = self._poll.poll(_PATIENCE)
            if not ready:
                raise RuntimeError(f"{count - len(latencies)} answers are missing")
            for number, _ in ready:
                connection = self._sockets[number]
                data = _received(connection)
                if not data:
                    raise RuntimeError("a connection was closed")
                received[number] = received.get(number, 0) + len(data)
                if received[number] >= self._size:
                    received[number] = 0
                    latencies.append(time.perf_counter() - self._intended[number])
                    self._free.put(connection)
        sender.join()
        return latencies

    def close(self) -> None:
        self._poll.close()
        for connection in self._sockets.values():
            connection.close()

    def _send(self, rate: int, count: int) -> None:
        start = time.perf_counter()
        for number in range(count):
            intended = start + number / rate
            pause = intended - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            connection = self._free.get()
            self._intended[connection.fileno()] = intended
            connection.sendall(self._request)


def _received(connection: socket.socket) -> bytes:
    """All that has come: what TLS has read already, the kernel's poll does not see."""
    data = connection.recv(65_536)
    while isinstance(connection, ssl.SSLSocket) and connection.pending():
        data += connection.recv(65_536)
    return data


def _answer_size(connection: socket.socket) -> int:
    """Bytes of one answer; every later one has as many."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    wanted = len(head) + 4 + int(length.split(b":")[1])
    while len(head) + 4 + len(body) < wanted:
        body += connection.recv(65_536)
    return wanted


def measure(bench: Bench) -> list[Figure]:
    """Percentiles of each way."""
    figures = []
    for way in bench.stage.ways:
        with contextlib.closing(OpenLoop(way.http)) as loop:
            taken = loop.run(bench.size.rate, bench.size.seconds)
        figures += [
            Figure.of(f"{way.name}, p{percent:g}", "ms", 1e3 * percentile(taken, percent)) for percent in PERCENTS
        ]
    return figures


BENCHMARK = Benchmark(
    name="latency",
    title="Latency at a fixed rate",
    how=f"1,000 requests a second (300 in a quick run) over {CONNECTIONS} kept HTTP/1.1 connections, sent at fixed "
    "times whether or not earlier ones are answered. Latency counts from the time a request was meant to be sent,"
    " so that a stall is in the figure of every request that it delayed (no coordinated omission).",
    measure=measure,
)
