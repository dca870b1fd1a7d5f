"""A relay as the supervisor starts it: its own process, over a scripted control."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kit.control import ScriptedControl
from kit.scripted_agent import ScriptedAgent
from portico.relay import link

MARK = "x-test-mark"


@dataclass
class RelayProcess:
    """The process, its control and its sockets."""

    process: asyncio.subprocess.Process
    control: ScriptedControl
    directory: Path

    @property
    def agents_socket(self) -> Path:
        """Where Envoy sends agents."""
        return self.directory / "agents.sock"

    async def agent(self, client: str = "", agent: str = "portico-test/1") -> ScriptedAgent:
        """A new authenticated agent."""
        scripted = await ScriptedAgent().connect(self.agents_socket)
        await scripted.authenticate(client, agent)
        return scripted

    def memory(self) -> int:
        """Resident bytes of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def running(run_dir: Path, control: ScriptedControl | None = None) -> AsyncIterator[RelayProcess]:
    """Start a relay and wait until it is linked to control."""
    if control is None:
        control = ScriptedControl(run_dir)
        await control.start()
    hellos = len(control.all(link.Hello))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "portico.relay", "--name", "r0", "--run-dir", str(run_dir), "--log-format", "logfmt",
        env={**os.environ, "PORTICO_MARK_HEADER": MARK},
    )  # fmt: skip
    try:
        await control.wait_for(link.Hello, hellos + 1)
        yield RelayProcess(process, control, run_dir / "r0")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await control.stop()
