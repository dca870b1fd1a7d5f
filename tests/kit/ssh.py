"""The stock OpenSSH client against an edge, with a key and a known_hosts of its own and no configuration."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kit.edge import RunningEdge
from kit.visit import visit

PATIENCE = 60


class Ssh:
    """One running `ssh`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def url(self) -> str:
        """The URL of the next forward that comes online."""
        words = self.line().split()
        assert words[:1] == ["Forwarding"], self.finish()
        return words[1]

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str, str]:
        """Exit status, and the rest of both outputs, once it has ended by itself."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)


class SshUser:
    """Somebody with a key, who knows the edge's host key."""

    def __init__(self, edge: RunningEdge, directory: Path) -> None:
        if shutil.which("ssh") is None:
            pytest.skip("ssh is missing")
        self.edge = edge
        self._directory = directory
        self.key = directory / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.host, self.port = edge.facts["ssh"].split(":")
        public = subprocess.run(
            ["ssh-keygen", "-y", "-f", edge.data_dir / "ssh_host_ed25519_key"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (directory / "known_hosts").write_text(f"[{self.host}]:{self.port} {public}")

    @property
    def public_key(self) -> str:
        """One line."""
        return self.key.with_suffix(".pub").read_text().strip()

    def register(self, **fields: object) -> str:
        """Register the key by the REST API; its id."""
        return str(self.api("POST", "/ssh_credentials", json={"public_key": self.public_key, **fields}).json()["id"])

    def api(self, method: str, path: str, **request: object) -> httpx.Response:
        """One request to the edge's REST API."""
        key = (self.edge.data_dir / "api-key").read_text().strip()
        headers = {"authorization": f"Bearer {key}", "ngrok-version": "2"}
        url = f"https://api.{self.edge.facts['domain']}:{self.edge.https_port}"
        answer = visit(self.edge, url, path, method=method, headers=headers, **request)
        assert answer.is_success, answer.text
        return answer

    def command(self, *arguments: str) -> list[str]:
        """`ssh` with what keeps it to this directory."""
        options = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self._directory / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *flags, "-p", self.port, *arguments]

    @contextlib.contextmanager
    def ssh(self, *arguments: str, password: str | None = None) -> Iterator[Ssh]:
        """Run `ssh ARGUMENTS`; `password` is what it gets when it asks for one."""
        environment = dict(os.environ)
        batch = ("-o", "BatchMode=yes")
        if password is not None:
            asker = self._directory / "askpass"
            asker.write_text('#!/bin/sh\necho "$1" >> "$0.asked"\necho "$PORTICO_TEST_PASSWORD"\n')
            asker.chmod(0o700)
            environment |= {
                "SSH_ASKPASS": str(asker),
                "SSH_ASKPASS_REQUIRE": "force",
                "PORTICO_TEST_PASSWORD": password,
            }
            batch = ("-o", "NumberOfPasswordPrompts=1")
        process = subprocess.Popen(
            self.command(*batch, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            yield Ssh(process)
        finally:
            if process.poll() is None:
                # OpenSSH 9.2 waits in poll(2): of a SIGTERM just before it knows with the next keepalive, 15 s later.
                process.kill()
            process.communicate(timeout=PATIENCE)

    @contextlib.contextmanager
    def forward(self, *arguments: str) -> Iterator[tuple[Ssh, str]]:
        """`ssh ARGUMENTS` once its first forward is online, and the URL."""
        with self.ssh(*arguments) as ssh:
            yield ssh, ssh.url()

    @property
    def door(self) -> str:
        """`v2@` and the edge."""
        return f"v2@{self.host}"
