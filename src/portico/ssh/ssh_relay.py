"""One relay process for stock SSH clients: the same link, binds and visitors as for agents, behind another door."""

import logging
import socket
from pathlib import Path
from typing import Final

import asyncssh

from portico.relay.relay import Door, Relay
from portico.ssh import limits
from portico.ssh.connection import SshConnection

log = logging.getLogger(__name__)

SERVER_VERSION: Final = "Portico"
BACKLOG: Final = 1024
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
"""Every client has one of these. ChaCha20, OpenSSH's first choice, costs this process twice the time a packet."""


class SshRelay(Relay):
    """Composes the parts and runs them until it is told to end."""

    def __init__(
        self, name: str, run_dir: Path, *, mark: str, listening: socket.socket, host_key: asyncssh.SSHKey
    ) -> None:
        super().__init__(name, run_dir, mark=mark)
        self._listening = listening
        self._host_key = host_key

    async def _listen(self) -> Door:
        """Take SSH connections."""
        return await asyncssh.listen(
            sock=self._listening,
            backlog=BACKLOG,
            server_factory=self._arrive_by_ssh,
            server_host_keys=[self._host_key],
            server_version=SERVER_VERSION,
            login_timeout=limits.LOGIN_SECONDS,
            keepalive_interval=limits.KEEPALIVE_SECONDS,
            keepalive_count_max=limits.KEEPALIVES_LOST,
            encryption_algs=CIPHERS,
            compression_algs=None,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            line_editor=False,
            encoding=None,
        )

    def _arrive_by_ssh(self) -> SshConnection:
        self._figures.sessions_unauthenticated += 1
        refused = self._figures.sessions_unauthenticated > limits.UNAUTHENTICATED
        if refused:
            self._figures.sessions_refused_total += 1
        return SshConnection(self._around, self._left, refused=refused)
