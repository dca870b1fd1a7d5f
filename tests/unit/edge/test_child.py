"""Children that die, and how the supervisor hears from them."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from portico.edge.child import FIRST_RETRY, LAST_RETRY, STEADY_SECONDS, Backoff, Child, describe
from portico.edge.notices import VARIABLE, NoticeReceiver, notify


def test_back_off_doubles_to_a_limit_and_is_forgotten_after_a_steady_life() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay(0) for _ in range(12)]
    assert delays[:3] == [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4]
    assert delays[-1] == LAST_RETRY
    assert backoff.next_delay(STEADY_SECONDS) == FIRST_RETRY


def test_a_status_in_words() -> None:
    assert describe(1) == "exit 1"
    assert describe(-signal.SIGKILL) == "SIGKILL"


def child(directory: Path, program: str, started: list[int]) -> Child:
    (directory / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    return Child("test", "program", [], environment, lambda: started.append(1))


async def test_a_dead_child_is_started_again_until_it_says_that_it_is_of_no_use(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        f"lives = pathlib.Path({str(tmp_path / 'lives')!r})\n"
        "lives.open('a').write('x')\n"
        "number = len(lives.read_text())\n"
        "number == 1 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(1 if number == 2 else 78)\n"
    )
    started: list[int] = []
    await asyncio.wait_for(child(tmp_path, program, started).run(), 30)
    assert (tmp_path / "lives").read_text() == "xxx"
    assert len(started) == 3


async def test_a_child_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "time.sleep(600)\n"
    )
    stubborn = child(tmp_path, program, [])
    running = asyncio.create_task(stubborn.run())
    async with asyncio.timeout(30):
        while not (tmp_path / "up").exists():
            await asyncio.sleep(0.01)
    pid = stubborn.pid
    assert pid is not None
    await stubborn.stop(0.1)
    await asyncio.wait_for(running, 30)
    assert stubborn.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_that_is_not_ready_for_it_does_not_end_when_the_settings_are_to_be_read(tmp_path: Path) -> None:
    program = (
        "import pathlib, time\n"
        f"up, on = (pathlib.Path({str(tmp_path)!r}, name) for name in ('up', 'on'))\n"
        "up.touch()\n"
        "while not on.exists():\n"
        "    time.sleep(0.01)\n"
        "raise SystemExit(78)\n"
    )
    started: list[int] = []
    starting = child(tmp_path, program, started)
    running = asyncio.create_task(starting.run())
    async with asyncio.timeout(30):
        while not (tmp_path / "up").exists():
            await asyncio.sleep(0.01)
    starting.signal(signal.SIGHUP)
    (tmp_path / "on").touch()
    await asyncio.wait_for(running, 30)
    assert len(started) == 1


async def test_notices_arrive_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    transport = await NoticeReceiver.listen(tmp_path / "notify.sock", lines.append)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "notify.sock"))
    notify("STATUS=starting\nREADY=1")
    async with asyncio.timeout(10):
        while len(lines) < 2:
            await asyncio.sleep(0.005)
    transport.close()
    assert lines == ["STATUS=starting", "READY=1"]


def test_nobody_to_notify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    notify("READY=1")
