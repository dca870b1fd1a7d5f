"""Certificates and keys that a flag or a key of the file names: PEM itself, or the path of a PEM file."""

from pathlib import Path

from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError


def read_key_pair(certificate: str | None, key: str | None) -> KeyPair | None:
    """The pair, checked to belong together; None where neither is given. Raises PorticoError(CERTIFICATE_INVALID)."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "certificate (crt)" if certificate is None else "private key (key)"
        raise PorticoError(CERTIFICATE_INVALID, f"the {missing} is missing: the two go together")
    pair = KeyPair(_read(certificate), _read(key))
    _check_pair(pair, certificate)
    return pair


def read_authorities(values: tuple[str, ...]) -> str | None:
    """The PEM of all the certificate authorities named. Raises PorticoError(CERTIFICATE_INVALID)."""
    if not values:
        return None
    from cryptography import x509

    texts = [_read(value) for value in values]
    for value, text in zip(values, texts, strict=True):
        try:
            x509.load_pem_x509_certificates(text.encode())
        except ValueError:
            raise PorticoError(CERTIFICATE_INVALID, f"there is no certificate in {_named(value)}") from None
    return "\n".join(text.strip() for text in texts) + "\n"


def _read(value: str) -> str:
    if _is_pem(value):
        return value
    try:
        return Path(value).expanduser().read_text("ascii", "replace")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise PorticoError(CERTIFICATE_INVALID, f"{value} cannot be read: {reason}") from None


def _is_pem(value: str) -> bool:
    return value.lstrip().startswith("-----BEGIN")


def _named(value: str) -> str:
    return "the PEM given" if _is_pem(value) else value


def _check_pair(pair: KeyPair, name: str) -> None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(pair.certificate.encode())[0]
    except ValueError:
        raise PorticoError(CERTIFICATE_INVALID, f"there is no certificate in {_named(name)}") from None
    try:
        key = load_pem_private_key(pair.key.encode(), password=None)
    except TypeError:
        raise PorticoError(CERTIFICATE_INVALID, "the private key is encrypted; give it decrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PorticoError(CERTIFICATE_INVALID, "there is no private key in the key file") from None
    if key.public_key() != certificate.public_key():
        raise PorticoError(CERTIFICATE_INVALID, f"the private key is not that of {_named(name)}")
