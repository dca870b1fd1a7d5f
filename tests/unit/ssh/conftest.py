"""The SSH relay inside the test's own event loop, a scripted control, and asyncssh as the client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from kit.control import ScriptedControl
from portico.ssh.host_key import load_or_create
from portico.ssh.ssh_relay import SshRelay


@dataclass
class Door:
    """A running relay."""

    control: ScriptedControl
    port: int
    key: asyncssh.SSHKey

    def connect(self, **options: object) -> asyncssh.connection.SSHClientConnection:
        """An authenticated connection, as a context manager."""
        fixed = {"known_hosts": None, "config": None, "agent_path": None, "username": "v2"}
        return asyncssh.connect("127.0.0.1", self.port, **{**fixed, "client_keys": [self.key], **options})


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Listens on a free port."""
    control = ScriptedControl(tmp_path)
    await control.start()
    listening = socket.create_server(("127.0.0.1", 0))
    key = load_or_create(tmp_path / "host_key")
    relay = SshRelay("ssh0", tmp_path, mark="x-mark", listening=listening, host_key=key)
    task = asyncio.create_task(relay.run())
    yield Door(control, listening.getsockname()[1], asyncssh.generate_private_key("ssh-ed25519"))
    relay._end(0)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await control.stop()
