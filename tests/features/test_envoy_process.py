"""The Envoy process: live when it says so, replaced without a refused connection, never left behind."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kit.envoy import (
    Rig,
    cluster,
    eventually,
    http_get,
    http_listener,
    listener,
    require_envoy,
    running_envoy,
    scope,
    tcp_proxy,
    unix_upstream,
)
from kit.ports import free_port
from portico.envoy.admin import Admin, AdminError
from portico.envoy.bootstrap import BootstrapSettings
from portico.envoy.predecessors import MOST_LINGERING
from portico.envoy.process import EnvoyProcess, ProcessSettings
from portico.model.errors import EDGE_NOT_READY, ENVOY_MISSING, PorticoError


@pytest.fixture
async def rig():
    async with running_envoy() as rig, unix_upstream(rig.upstream, b"hello"):
        yield rig


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def echo_upstream(path: Path) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


async def echoes(visitor: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    reader, writer = visitor
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"


class TestAdmin:
    async def test_reads_what_envoy_tells(self, rig: Rig):
        admin = rig.envoy.admin
        assert await admin.ready()
        assert (await admin.server_info())["state"] == "LIVE"
        assert "# TYPE envoy_" in await admin.metrics(used_only=False)
        await rig.ads.publish([cluster("one", rig.upstream)])
        assert '"one"' in str(await admin.config_dump()).replace("'", '"')

    async def test_says_when_envoy_is_not_there(self, tmp_path):
        with pytest.raises(AdminError, match="/ready"):
            await Admin(tmp_path / "nobody.sock").ready()

    async def test_quit_ends_envoy(self, rig: Rig):
        await rig.envoy.admin.quit()
        await eventually(lambda: rig.exits)
        assert rig.exits == [0]
        assert rig.envoy.pid is None


class TestAllocator:
    async def test_keeps_a_cache_for_each_processor(self, monkeypatch):
        """Unless restartable sequences are left to it; what else was set for glibc stays."""
        monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
        async with running_envoy() as rig:
            report = (await rig.envoy.admin._checked("GET", "/memory/tcmalloc")).decode()
            environment = Path(f"/proc/{rig.envoy.pid}/environ").read_text()
        assert "Bytes in per-CPU caches (" in report
        assert "GLIBC_TUNABLES=glibc.malloc.check=0" in environment


class TestHotRestart:
    async def test_refuses_no_connection(self, rig: Rig):
        port = free_port()
        await rig.ads.publish([http_listener(port), cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        first = rig.envoy.pid
        assert first is not None
        results: list[tuple[int, bytes]] = []

        async def visit() -> None:
            for _ in range(300):
                results.append(await http_get(port, "a.test"))
                await asyncio.sleep(0.002)

        visits = asyncio.create_task(visit())
        await rig.envoy.hot_restart()
        second = rig.envoy.pid
        await visits
        assert results == [(200, b"hello")] * 300
        assert second not in (None, first)
        await eventually(lambda: not alive(first))
        await rig.ads.publish([scope("b.test", "a.test")])
        assert (await http_get(port, "b.test"))[0] == 200
        assert rig.exits == []
        await rig.envoy.hot_restart()
        assert (await http_get(port, "b.test"))[0] == 200

    async def test_cuts_no_connection_to_any_predecessor(self):
        """Envoy's own hot restart ends the parent of the one that makes way."""
        async with running_envoy(parent_shutdown_seconds=600) as rig, echo_upstream(rig.upstream):
            port = free_port()
            chain = {"name": "tcp", "filters": [tcp_proxy("a.test")]}
            await rig.ads.publish([cluster("a.test", rig.upstream), listener(port, chain)])
            pids, visitors = [], []
            for _ in range(5):
                pids.append(rig.envoy.pid)
                visitors.append(await asyncio.open_connection("127.0.0.1", port))
                await echoes(visitors[-1])
                await rig.envoy.hot_restart()
            # The last predecessor is Envoy's own to end, after `parent_shutdown_seconds`.
            for visitor in visitors[:-1]:
                await echoes(visitor)
            for pid, (_, writer) in zip(pids, visitors[:-1], strict=False):
                assert alive(pid)
                writer.close()
                await eventually(lambda pid=pid: not alive(pid))
            assert rig.exits == []
            visitors[-1][1].close()

    async def test_ends_the_oldest_of_too_many(self):
        async with running_envoy(parent_shutdown_seconds=600) as rig, echo_upstream(rig.upstream):
            port = free_port()
            chain = {"name": "tcp", "filters": [tcp_proxy("a.test")]}
            await rig.ads.publish([cluster("a.test", rig.upstream), listener(port, chain)])
            visitors = []
            for _ in range(MOST_LINGERING + 2):
                visitors.append(await asyncio.open_connection("127.0.0.1", port))
                await echoes(visitors[-1])
                await rig.envoy.hot_restart()
            assert await visitors[0][0].read() == b""
            await echoes(visitors[1])
            for _, writer in visitors:
                writer.close()

    async def test_keeps_the_old_one_when_the_new_one_fails(self, rig: Rig):
        port = free_port()
        await rig.ads.publish([http_listener(port), cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        first = rig.envoy.pid
        rig.envoy._settings = replace(rig.envoy._settings, log_level="nonsense")
        with pytest.raises(PorticoError) as caught:
            await rig.envoy.hot_restart()
        assert caught.value.code is EDGE_NOT_READY
        assert rig.envoy.pid == first
        assert (await http_get(port, "a.test"))[0] == 200

    async def test_tells_that_the_old_one_died_before_the_new_one_took_over(self, rig: Rig):
        port = free_port()
        await rig.ads.publish([http_listener(port), cluster("a.test", rig.upstream), scope("a.test", "a.test")])
        first = rig.envoy.pid
        assert first is not None
        settings, slow = rig.envoy._settings, rig.run_dir / "slow"
        slow.write_text(f'#!/bin/sh\nkill -STOP $$\nexec {settings.binary} "$@"\n')  # so slow that it never begins
        slow.chmod(0o700)
        rig.envoy._settings = replace(settings, binary=slow)
        restart = asyncio.create_task(rig.envoy.hot_restart())
        await eventually(lambda: rig.envoy.pid != first)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(PorticoError, match="before it was live"):
            await restart
        assert len(rig.exits) == 1
        assert rig.envoy.pid is None
        rig.envoy._settings = settings
        await rig.envoy.start()
        assert (await http_get(port, "a.test"))[0] == 200

    async def test_needs_an_envoy(self, run_dir):
        with pytest.raises(PorticoError, match="no Envoy"):
            await Rig(run_dir).envoy.hot_restart()


class TestStop:
    async def test_lets_open_requests_end(self, rig: Rig):
        port = free_port()
        release = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
            await reader.read()
            writer.close()

        async with await asyncio.start_unix_server(slow, rig.run_dir / "slow.sock"):
            slow_cluster = cluster("a.test", rig.run_dir / "slow.sock")
            await rig.ads.publish([http_listener(port), slow_cluster, scope("a.test", "a.test")])
            request = asyncio.create_task(http_get(port, "a.test"))
            await eventually(rig.envoy.admin.open_connections)
            stopping = asyncio.create_task(rig.envoy.stop(grace=60))
            await asyncio.sleep(0.1)
            release.set()
            assert await request == (200, b"slow")
            await stopping
        assert rig.envoy.pid is None

    async def test_ends_when_the_grace_is_over(self, rig: Rig):
        port = free_port()
        await rig.ads.publish([http_listener(port)])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(rig.envoy.admin.open_connections)
        await rig.envoy.stop(grace=0.1)
        assert rig.envoy.pid is None
        writer.close()


class TestStart:
    async def test_says_that_the_binary_does_not_run(self, tmp_path):
        broken = tmp_path / "envoy"
        broken.write_bytes(b"\x7fELF nonsense")
        settings = ProcessSettings(broken, tmp_path, BootstrapSettings("test", tmp_path / "xds.sock"))
        with pytest.raises(PorticoError) as caught:
            await EnvoyProcess(settings).start()
        assert caught.value.code is ENVOY_MISSING

    async def test_says_that_nothing_configures_it_in_time(self, run_dir):
        settings = BootstrapSettings("test", run_dir / "xds.sock")
        envoy = EnvoyProcess(ProcessSettings(require_envoy(), run_dir, settings, concurrency=1))
        with pytest.raises(PorticoError, match=r"not live within 0\.3 s") as caught:
            await envoy.start(timeout=0.3)
        assert caught.value.code is EDGE_NOT_READY
        assert envoy.pid is None

    async def test_says_nothing_of_an_end_that_was_asked_for(self, caplog):
        async with running_envoy():
            caplog.clear()
        assert [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING] == []

    async def test_hands_envoys_log_on(self, run_dir, caplog):
        caplog.set_level(logging.INFO)
        settings = BootstrapSettings("test", run_dir / "xds.sock")
        envoy = EnvoyProcess(ProcessSettings(require_envoy(), run_dir, settings, concurrency=1, log_level="info"))

        def told() -> bool:
            lines = [record for record in caplog.records if record.name == "envoy"]
            return any(
                record.levelno == logging.INFO and getattr(record, "component", "") == "main" for record in lines
            )

        starting = asyncio.create_task(envoy.start())
        await eventually(told)
        await envoy.stop()
        with pytest.raises(PorticoError):
            await starting

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
    async def test_envoy_ends_with_the_process_that_started_it(self, run_dir):
        script = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from portico.envoy.bootstrap import BootstrapSettings\n"
            "from portico.envoy.process import EnvoyProcess, ProcessSettings\n"
            "folder = Path(sys.argv[2])\n"
            "async def main():\n"
            "    settings = BootstrapSettings('test', folder / 'xds.sock')\n"
            "    envoy = EnvoyProcess(ProcessSettings(Path(sys.argv[1]), folder, settings, concurrency=1))\n"
            "    starting = asyncio.create_task(envoy.start())\n"
            "    while envoy.pid is None:\n"
            "        await asyncio.sleep(0.01)\n"
            "    print(envoy.pid, flush=True)\n"
            "    await starting\n"
            "asyncio.run(main())\n"
        )
        arguments = ["-c", script, str(require_envoy()), str(run_dir)]
        parent = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert parent.stdout is not None
        envoy = int(await parent.stdout.readline())
        assert alive(envoy)
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        await eventually(lambda: not alive(envoy))
