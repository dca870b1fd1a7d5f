"""What the machine itself can do: OpenSSL alone, and bytes over loopback alone."""

import os
import resource
import socket
import subprocess
import time

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure

CIPHERS = ("aes-128-gcm", "aes-256-gcm", "chacha20-poly1305")
RECORD = 16_384
CHUNK = bytes(1 << 18)
GIB = 1 << 30


def measure(bench: Bench) -> list[Figure]:
    """Megabytes per second of each cipher, signatures, and a copy through loopback."""
    seconds = bench.size.seconds
    rates = {cipher: float(_speed(seconds, "-bytes", str(RECORD), "-evp", cipher)[-1]) for cipher in CIPHERS}
    signatures = float(_speed(seconds, "ecdsap256")[-2])
    rate, cost = _copy(seconds)
    return [
        *(Figure.of(f"openssl speed, {cipher}", "MB/CPU s", rate / 1e6) for cipher, rate in rates.items()),
        Figure.of("openssl speed, ECDSA P-256 signatures", "per CPU s", signatures),
        Figure.of("loopback copy, 1 stream", "MB/s", rate / 1e6),
        Figure.of("loopback copy: CPU of both ends for a GiB", "s", cost),
    ]


def _speed(seconds: float, *what: str) -> list[str]:
    """The fields of the last line that `openssl speed` prints for machines."""
    command = ["openssl", "speed", "-mr", "-seconds", str(max(1, round(seconds))), *what]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return printed.splitlines()[-1].split(":")


def _copy(seconds: float) -> tuple[float, float]:
    """(bytes a second, CPU seconds for a GiB) from one process to another over one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = os.fork()
        if not child:
            _pour(server.getsockname(), seconds)
        taken, _ = server.accept()
    before, began, received = resource.getrusage(resource.RUSAGE_SELF), time.monotonic(), 0
    room = bytearray(len(CHUNK))
    with taken:
        while size := taken.recv_into(room):
            received += size
    passed = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    _, _, sender = os.wait4(child, 0)
    reader = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return received / passed, (reader + sender.ru_utime + sender.ru_stime) * GIB / received


def _pour(address: tuple[str, int], seconds: float) -> None:
    """What the forked process does: send for so long, and end."""
    until = time.monotonic() + seconds
    try:
        with socket.create_connection(address) as connection:
            while time.monotonic() < until:
                connection.sendall(CHUNK)
    finally:
        os._exit(0)


BENCHMARK = Benchmark(
    name="limits",
    title="What the machine itself can do",
    how="`openssl speed` on one processor, in records of 16 KiB and for each second of its processor time, and one "
    "process that sends zeros to another over loopback, without TLS and without looking at them. No tunnel that "
    "encrypts can be quicker than the two together: each byte is encrypted once, decrypted once, and crosses "
    "loopback three times.",
    measure=measure,
)
