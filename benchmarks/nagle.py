"""Keep-alive GETs through ngrok's Python SDK, whose socket keeps Nagle's algorithm on while Envoy ends its TLS.

Without an answer of the relay that carries the TCP ACK, each request waits for the kernel's delayed ACK: p50 was 44.1
ms that way and is 0.5 ms with `Session.prompt_ack` (2 cores, loopback).

    python benchmarks/nagle.py [--requests N]
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kit import front
from kit.envoy import free_port
from kit.ngrok_sdk import sdk_agent
from kit.relay_process import running
from kit.upstream import HttpUpstream
from portico.relay import link

REQUEST = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Seconds of one request on a connection that is open."""
    start = time.perf_counter()
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return time.perf_counter() - start


async def measure(requests: int, directory: Path) -> dict[str, float]:
    """Milliseconds of sequential requests: visitor, Envoy, relay, Envoy (TLS), SDK, upstream and back."""
    ca, certificate, key = front.make_certificate(directory)
    port, visitors = free_port(), free_port()
    async with running(directory) as relay, HttpUpstream() as upstream:
        relay.control.options = {"http": 1}
        agents = front.agents_front(port, str(relay.agents_socket), certificate, key)
        async with front.envoy(directory, agents), sdk_agent(f"localhost:{port}", ca) as sdk:
            await sdk.forward(f"http://{upstream.address}")
            bind = await relay.control.wait_for(link.Bind)
            async with front.envoy(directory, front.http_front(visitors, bind.address)):
                reader, writer = await asyncio.open_connection("127.0.0.1", visitors)
                taken = sorted([await get(reader, writer) for _ in range(requests)])
                writer.close()
    return {
        "requests": requests,
        "p50_ms": round(statistics.median(taken) * 1000, 3),
        "p99_ms": round(taken[len(taken) * 99 // 100] * 1000, 3),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(measure(options.requests, Path(directory)))))


if __name__ == "__main__":
    main()
