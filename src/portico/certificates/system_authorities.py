"""The file with the certificate authorities that this machine trusts."""

import ssl
from functools import cache
from pathlib import Path
from typing import Final

_KNOWN: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


@cache
def system_authorities() -> str | None:
    """Its path: what OpenSSL is told (`SSL_CERT_FILE`, or as it was built), else the first of those known."""
    paths = (ssl.get_default_verify_paths().cafile, *_KNOWN)
    return next((path for path in paths if path and Path(path).is_file()), None)
