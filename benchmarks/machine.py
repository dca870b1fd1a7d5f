"""On what the figures were measured: facts of the machine and the programs, no names and no paths."""

import os
import platform
import re
import ssl
import subprocess
from importlib import metadata
from pathlib import Path

from kit import nginx
from portico.envoy.binary import envoy_binary
from portico.tunnel import transport
from portico.version import __version__


def facts() -> dict[str, str]:
    """In the order of the page."""
    return {
        "processors": f"{os.cpu_count()}, {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "uvloop": metadata.version("uvloop"),
        "tunnel core": tunnel_core(),
        "TLS of Python": ssl.OPENSSL_VERSION,
        "Portico": __version__,
        "Envoy": _said([str(envoy_binary()), "--version"], r"/(\d+\.\d+\.\d+)"),
        "ngrok SDK": metadata.version("ngrok"),
        "service": _service(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def tunnel_core() -> str:
    """Whether `hatch_build.py` compiled what is measured."""
    return "interpreted" if transport.__file__.endswith(".py") else "compiled (mypyc)"


def _service() -> str:
    binary = nginx.program()
    if binary is None:
        return "uvloop and httptools"
    version = _said([binary, "-v"], r"nginx/([\d.]+)")
    return f"nginx {version}, 1 worker (bulk: uvloop and httptools)"


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _said(command: list[str], pattern: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"
