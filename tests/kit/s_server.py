"""`openssl s_server` as an upstream that is as strict, or as wrong, as its flags say."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def s_server(certificate: Path, key: Path, *flags: str, port: int = 0) -> Iterator[int]:
    """It answers each request with a page about its TLS; yields the port."""
    files = ["-cert", str(certificate), "-key", str(key)]
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", *files, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OPENSSL_CONF": os.devnull},
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("ACCEPT"):
                break
        else:
            raise AssertionError(said)
        yield port or int(line.rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
