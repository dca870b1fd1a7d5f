"""A real Envoy follows an AdsServer: what is published answers, what is rejected harms nobody else."""

import asyncio
from pathlib import Path

import pytest

from kit.envoy import (
    Rig,
    cluster,
    eventually,
    free_port,
    http_get,
    http_listener,
    listener,
    running_envoy,
    scope,
    tcp_proxy,
    unix_upstream,
)
from portico.envoy.publication import EnvoyUnavailable, ResourceRejected
from portico.translate.resource import CLUSTER, LISTENER, SCOPE


async def test_published_endpoint_answers_at_once_and_a_removed_one_no_more():
    async with running_envoy() as rig, unix_upstream(rig.run_dir / "u.sock", b"hello"):
        port = free_port()
        await rig.ads.publish([http_listener(port)])
        for number in range(5):
            host = f"h{number}.test"
            await rig.ads.publish([cluster(host, rig.run_dir / "u.sock"), scope(host, host)])
            assert await http_get(port, host) == (200, b"hello")
        await rig.ads.publish(remove=[(SCOPE, "h0.test"), (CLUSTER, "h0.test")])
        assert (await http_get(port, "h0.test"))[0] == 404
        assert (await http_get(port, "h1.test"))[0] == 200
        await rig.ads.publish(remove=[(LISTENER, "main")])
        with pytest.raises(ConnectionRefusedError):
            await eventually(lambda: http_get_refused(port))


async def http_get_refused(port: int) -> bool:
    await http_get(port, "h1.test")
    return False
