"""How publishing scales: from `publish` to Envoy's acknowledgement and to the first 200.

    python -m benchmarks.xds_scale [N ...]

N is the number of endpoints there are already (100, 1,000 and 10,000 when none is given); each is a cluster with one
Unix socket, and a scope. Takes under a minute and prints one line for each N.
"""

import asyncio
import logging
import statistics
import sys
import time

from benchmarks.processes import cpu_seconds, resident_bytes
from kit.envoy import Rig, cluster, http_get, http_listener, running_envoy, scope, unix_upstream
from kit.ports import free_port
from portico.translate.resource import Resource

PUBLISHES = 40
AT_ONCE = 200


def endpoint(rig: Rig, host: str) -> list[Resource]:
    return [cluster(host, rig.upstream, stats_matcher={"reject_all": True}), scope(host, host)]


async def measure(count: int) -> None:
    async with running_envoy() as rig, unix_upstream(rig.upstream, b"hello"):
        pid = rig.envoy.pid
        assert pid is not None
        port = free_port()
        await rig.ads.publish([http_listener(port)])
        empty, began = resident_bytes(pid) / 1e6, time.perf_counter()
        everything = [resource for number in range(count) for resource in endpoint(rig, f"e{number}.test")]
        await rig.ads.publish(everything, timeout=120)
        filled = time.perf_counter() - began
        acknowledged, answered = [], []
        cpu, own = cpu_seconds(pid), time.process_time()
        for number in range(PUBLISHES):
            host = f"new{number}.test"
            began = time.perf_counter()
            await rig.ads.publish(endpoint(rig, host))
            acknowledged.append(time.perf_counter() - began)
            status, _ = await http_get(port, host)
            answered.append(time.perf_counter() - began)
            assert status == 200, status
            await asyncio.sleep(0.02)
        cpu, own = cpu_seconds(pid) - cpu, time.process_time() - own
        began = time.perf_counter()
        await asyncio.gather(*(rig.ads.publish(endpoint(rig, f"burst{number}.test")) for number in range(AT_ONCE)))
        burst = time.perf_counter() - began
        used = resident_bytes(pid) / 1e6
        rig.kill_envoy()
        while not rig.exits:
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        await rig.envoy.start()
        back = time.perf_counter() - began
        print(
            f"{count:6} endpoints: publish→ACK {1e3 * statistics.median(acknowledged):5.1f} ms"
            f" (p95 {1e3 * statistics.quantiles(acknowledged, n=20)[-1]:5.1f}), →200 on a new connection"
            f" {1e3 * statistics.median(answered):5.1f} ms; CPU a publish: Envoy {1e3 * cpu / PUBLISHES:4.1f} ms,"
            f" control {1e3 * own / PUBLISHES:4.1f} ms; {AT_ONCE} at once {AT_ONCE / burst:5.0f}/s;"
            f" all of them {filled:5.2f} s; after kill -9 live in {back:4.2f} s;"
            f" Envoy {used:4.0f} MB, {1e3 * (used - empty) / count:5.1f} KB an endpoint"
        )


async def main() -> None:
    for count in [int(argument) for argument in sys.argv[1:]] or [100, 1_000, 10_000]:
        await measure(count)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(main())
