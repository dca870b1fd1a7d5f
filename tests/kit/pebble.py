"""A certificate authority that speaks ACME, for tests: Pebble, and its DNS server, built once into `.cache/pebble`."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit.alone import alone
from kit.polling import eventually
from kit.ports import free_port
from portico.certificates.authority import Authority

BUILT = Path(__file__).parents[2] / ".cache" / "pebble"
VERSION = "v2.10.1"
NO_WAIT = {"authz": 1, "order": 1}
BLOCKED = "blocked.example.org"
"""A name that the authority refuses."""


def require_pebble() -> Path:
    """Directory with `pebble` and `pebble-challtestsrv`."""
    with alone(BUILT):
        _build()
    return BUILT


def _build() -> None:
    programs = ("pebble", "pebble-challtestsrv")
    if not all((BUILT / program).exists() for program in programs):
        if shutil.which("go") is None:
            pytest.skip("Pebble is built with go, which is missing")
        packages = [f"github.com/letsencrypt/pebble/v2/cmd/{program}@{VERSION}" for program in programs]
        environment = {**os.environ, "GOBIN": str(BUILT), "GOFLAGS": "-p=2"}
        done = subprocess.run(
            ["go", "install", *packages], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"Pebble could not be built: {done.stderr.strip().splitlines()[-1]}")


@dataclass
class Names:
    """The DNS that the authority asks: every name is this machine, and TXT records are as they were set."""

    dns: str
    management: str

    def command(self, directory: Path) -> Path:
        """A program as the setting `acme_dns[].command` wants one."""
        script = directory / "dns-hook"
        script.write_text(
            "#!/bin/sh\n"
            f'case "$1" in present) verb=set-txt;; *) verb=clear-txt;; esac\n'
            f'echo "$1 $2" >> {directory}/dns-hook.log\n'
            f'exec curl -sSf --noproxy "*" -d "{{\\"host\\":\\"$2.\\",\\"value\\":\\"$3\\"}}" {self.management}/$verb\n'
        )
        script.chmod(0o700)
        return script


@dataclass
class Pebble:
    """A running authority."""

    url: str
    """Of its directory."""
    ca_file: Path
    """Who vouches for that URL."""
    management: str
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """An entry of the setting `acme_directories`."""
        return {"url": self.url, "ca_file": str(self.ca_file)}

    def trust(self) -> str:
        """PEM of the root under which it issues."""
        return str(self._ask("/roots/0"))

    def orders(self) -> int:
        """How many orders were placed."""
        return self.log.read_text().count("Added order")

    def suggest_window(self, certificate_pem: str, start: datetime, end: datetime) -> None:
        """Have it suggest this time for the renewal of a certificate (RFC 9773)."""
        window = {"suggestedWindow": {"start": start.isoformat(), "end": end.isoformat()}}
        body = {"certificate": certificate_pem, "ariResponse": json.dumps(window)}
        self._ask("/set-renewal-info/", json.dumps(body).encode())

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()

    def _ask(self, path: str, body: bytes | None = None) -> str:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(self.management + path, data=body)
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def running_names() -> Iterator[Names]:
    """Start the DNS server."""
    dns, management = free_port(), free_port()
    off = [f"-{name}=" for name in ("http01", "https01", "tlsalpn01", "doh", "defaultIPv6")]
    command = [
        str(require_pebble() / "pebble-challtestsrv"),
        *off,
        f"-dnsserver=127.0.0.1:{dns}",
        f"-management=127.0.0.1:{management}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _listening(management)
        yield Names(f"127.0.0.1:{dns}", f"http://127.0.0.1:{management}")
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def running_pebble(
    directory: Path,
    names: Names,
    *,
    http_port: int,
    tls_port: int,
    environment: dict[str, str] | None = None,
    port: int | None = None,
    **config: Any,
) -> Iterator[Pebble]:
    """Start an authority that looks at these ports; `config` is its own (`externalAccountBindingRequired`, …)."""
    directory.mkdir(exist_ok=True)
    port, management = port or free_port(), free_port()
    own = Authority.create(datetime.now(UTC))
    pair, _ = own.issue(("localhost", "127.0.0.1"), datetime.now(UTC))
    files = {"ca.pem": own.pem, "cert.pem": pair.certificate, "key.pem": pair.key}
    for name, text in files.items():
        (directory / name).write_text(text)
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(directory / "cert.pem"),
        "privateKey": str(directory / "key.pem"),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
        "domainBlocklist": [BLOCKED],
        "retryAfter": NO_WAIT,
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "three months", "validityPeriod": 7_776_000}},
        **config,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    log = directory / "pebble.log"
    command = [str(require_pebble() / "pebble"), "-config", str(directory / "pebble.json"), "-dnsserver", names.dns]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "20", **(environment or {})},
        )
    try:
        _listening(port)
        _listening(management)
        url = f"https://localhost:{port}/dir"
        yield Pebble(url, directory / "ca.pem", f"https://localhost:{management}", log, process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def _listening(port: int) -> None:
    def connect() -> bool:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True

    eventually(connect)
