"""`ssl` reads keys and revocation lists from files only: one in memory, else the shortest-lived one on disk."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from portico.model.errors import CERTIFICATE_INVALID, PorticoError
from portico.model.tls import KeyPair


def load_key_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Give `context` a certificate and its key. Raises PorticoError(CERTIFICATE_INVALID)."""
    try:
        with pem_file(f"{pair.certificate.strip()}\n{pair.key.strip()}\n") as path:
            # The empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(path, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "it cannot be read"
        raise PorticoError(
            CERTIFICATE_INVALID, f"certificate or key: {str(reason).lower().replace('_', ' ')}"
        ) from None


@contextmanager
def pem_file(pem: str) -> Iterator[str]:
    """The path of a file that holds `pem` while in here, and that no other user can read."""
    data = pem.encode()
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        handle = os.memfd_create("portico")
        try:
            os.write(handle, data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    import tempfile

    handle, path = tempfile.mkstemp(prefix="portico-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        with suppress(OSError):
            os.unlink(path)
