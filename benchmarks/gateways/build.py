"""The gateways that are set beside the edge: Debian's, and those that the Go module proxy has; built once."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.build import CACHE, Found, Missing, go_program
from kit import nginx
from portico.envoy.binary import envoy_binary

# The newest that the registries served in November 2026.
_CADDY = "v2.11.9"
_TRAEFIK = "v3.6.12"
"""Newer ones need modules that the Go module proxy does not give out."""


def _nginx() -> Found:
    binary = nginx.program()
    if binary is None:
        raise Missing("nginx is not installed; tests/kit/install-parts installs it")
    return Found(said([binary, "-v"], r"nginx/([\d.]+)"), {"nginx": Path(binary)})


def _haproxy() -> Found:
    binary = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if binary is None:
        raise Missing("HAProxy is not installed")
    return Found(said([binary, "-v"], r"version ([\d.]+)"), {"haproxy": Path(binary)})


def _envoy() -> Found:
    binary = envoy_binary()
    return Found(said([str(binary), "--version"], r"/(\d+\.\d+\.\d+)"), {"envoy": binary})


def _caddy() -> Found:
    path = CACHE / f"caddy-{_CADDY}" / "caddy"
    go_program("github.com/caddyserver/caddy/v2", _CADDY, "./cmd/caddy", path)
    return Found(_CADDY, {"caddy": path})


def _traefik() -> Found:
    path = CACHE / f"traefik-{_TRAEFIK}" / "traefik"
    go_program("github.com/traefik/traefik/v3", _TRAEFIK, "./cmd/traefik", path)
    return Found(_TRAEFIK, {"traefik": path})


def said(command: list[str], pattern: str) -> str:
    """What a program says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


PEERS: dict[str, Callable[[], Found]] = {
    "Envoy": _envoy,
    "nginx": _nginx,
    "HAProxy": _haproxy,
    "Caddy": _caddy,
    "Traefik": _traefik,
}
