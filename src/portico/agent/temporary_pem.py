"""`ssl` reads keys from files only: the shortest-lived file that the system offers."""

import os
import ssl
import tempfile
from contextlib import suppress

from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError


def load_key_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Give `context` a certificate and its key. Raises PorticoError(CERTIFICATE_INVALID)."""
    handle, path = tempfile.mkstemp(prefix="portico-")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{pair.certificate.strip()}\n{pair.key.strip()}\n")
        # The empty password keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(path, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "it cannot be read"
        raise PorticoError(
            CERTIFICATE_INVALID, f"certificate or key: {str(reason).lower().replace('_', ' ')}"
        ) from None
    finally:
        with suppress(OSError):
            os.unlink(path)
