"""`openssl s_client` as a visitor that tells what the handshake came to."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REQUEST = "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Handshake:
    """What s_client printed."""

    text: str

    @property
    def alert(self) -> int | None:
        """The TLS alert that ended it (RFC 8446, 6), or None."""
        found = re.search(r"SSL alert number (\d+)", self.text)
        return int(found[1]) if found else None

    @property
    def version(self) -> str:
        """`TLSv1.3` or so, of the session; empty where there is none."""
        found = re.search(r"^(?:New|Reused), (TLSv[\d.]+)", self.text, re.MULTILINE)
        return found[1] if found else ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite; empty where there is no session."""
        found = re.search(r"^(?:New|Reused), TLSv[\d.]+, Cipher is (\S+)", self.text, re.MULTILINE)
        return found[1] if found else ""

    @property
    def reused(self) -> bool:
        """Whether the session was resumed."""
        return bool(re.search(r"^Reused, ", self.text, re.MULTILINE))

    @property
    def alpn(self) -> str:
        """The protocol that was agreed on; empty for none."""
        found = re.search(r"^ALPN protocol: (\S+)", self.text, re.MULTILINE)
        return found[1] if found else ""


def s_client(port: int, name: str, ca: Path, *flags: str, request: str | None = None) -> Handshake:
    """Connect with `name` as server name, send a request (for `name`, unless given), and read to the end."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-CAfile", str(ca)]
    sent = REQUEST.format(name) if request is None else request
    try:
        done = subprocess.run(
            [*command, "-ign_eof", *flags], input=sent.encode(), capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("openssl is missing")
    return Handshake((done.stdout + done.stderr).decode(errors="replace"))
