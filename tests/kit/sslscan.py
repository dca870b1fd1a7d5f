"""sslscan as a visitor: an independent list of the versions of TLS that a name speaks."""

import shutil
import subprocess
from xml.etree import ElementTree

import pytest


def versions(port: int, name: str) -> set[str]:
    """`1.2`, `1.3` and so on, as found switched on; SSL's are called `SSL 3` and the like."""
    if shutil.which("sslscan") is None:
        pytest.skip("sslscan is missing")
    command = ["sslscan", "--xml=-", "--no-colour", f"--sni-name={name}", f"127.0.0.1:{port}"]
    scan = ElementTree.fromstring(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = [each for each in scan.iter("protocol") if each.get("enabled") == "1"]
    return {f"{'' if each.get('type') == 'tls' else 'SSL '}{each.get('version')}" for each in found}
