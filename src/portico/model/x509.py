"""Reads certificates, keys and CA bundles that people hand in, and says what is wrong with them: text in, facts out.

Every refusal is PorticoError(CERTIFICATE_INVALID) whose message begins with `where`, the caller's words for the place
(a path, a flag, an option), and never repeats key material.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

_BEGIN: Final = "-----BEGIN "
_MALFORMED: Final = (
    ValueError,
    TypeError,  # some odd types inside of names
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What one certificate says."""

    subject: str
    names: tuple[str, ...]
    """DNS names, lower case, and IP addresses."""
    not_before: datetime
    not_after: datetime

    def covers(self, host: str) -> bool:
        """Whether it is valid for `host` (normalized): by name, or by a wildcard of exactly one label (RFC 6125)."""
        if host in self.names:
            return True
        base = host.partition(".")[2]
        return bool(base) and not host.startswith("*.") and f"*.{base}" in self.names


def read_key_pair(pair: KeyPair, *, now: datetime, where: str) -> CertificateFacts:
    """Check a certificate chain (leaf first) with its key; the leaf's facts."""
    key = _public_bytes(read_private_key(pair.key, where=where).public_key())
    with _certificate_errors(where):
        certificates = _certificates(pair.certificate, where)
        leaf = certificates[0]
        if key != _public_bytes(leaf.public_key()):
            raise PorticoError(CERTIFICATE_INVALID, f"{where}: {_mismatch(key, certificates)}")
        if problem := _date_problem(leaf, now):
            raise PorticoError(CERTIFICATE_INVALID, f"{where}: the certificate of {_name(leaf.subject)} {problem}")
        return _facts(leaf)


def read_key_pair_facts(pair: KeyPair) -> CertificateFacts:
    """The leaf's facts of a pair that was checked before and may have expired since."""
    with _certificate_errors("a stored certificate"):
        return _facts(_certificates(pair.certificate, "a stored certificate")[0])


def read_authorities(pem: str, *, now: datetime, where: str) -> tuple[CertificateFacts, ...]:
    """Check a bundle of CA certificates; the facts of each. All that are unfit are named at once."""
    with _certificate_errors(where):
        certificates = _certificates(pem, where)
        problems = [
            f"{where}: CA {number} ({_name(certificate.subject)}) {problem}"
            for number, certificate in enumerate(certificates, 1)
            if (problem := _authority_problem(certificate) or _date_problem(certificate, now))
        ]
        if problems:
            raise PorticoError(CERTIFICATE_INVALID, "\n".join(problems), fix="Give current certificates of CAs only.")
        return tuple(_facts(certificate) for certificate in certificates)


@contextmanager
def _certificate_errors(where: str) -> Iterator[None]:
    """The library reads a certificate piece by piece, so any access may find it malformed."""
    try:
        yield
    except _MALFORMED as error:
        raise PorticoError(CERTIFICATE_INVALID, f"{where}: a certificate cannot be read: {error}") from None


def _certificates(pem: str, where: str) -> list[x509.Certificate]:
    if f"{_BEGIN}CERTIFICATE-----" not in pem:
        found = "a private key" if "PRIVATE KEY-----" in pem else "no PEM certificate"
        raise PorticoError(CERTIFICATE_INVALID, f"{where}: there is {found} where a certificate should be")
    return x509.load_pem_x509_certificates(pem.encode())


def is_encrypted(key_pem: str) -> bool:
    """Whether a private key needs a passphrase: as PKCS#8 says it, or OpenSSL's traditional form."""
    return "-----BEGIN ENCRYPTED PRIVATE KEY-----" in key_pem or "Proc-Type: 4,ENCRYPTED" in key_pem


def decrypted(key_pem: str, passphrase: str, *, where: str) -> str:
    """The key as PEM without a passphrase."""
    key = read_private_key(key_pem, where=where, passphrase=passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def read_private_key(pem: str, *, where: str, passphrase: str | None = None) -> PrivateKeyTypes:
    """A private key."""
    if "PRIVATE KEY-----" not in pem:
        found = "a certificate" if f"{_BEGIN}CERTIFICATE-----" in pem else "no PEM private key"
        raise PorticoError(CERTIFICATE_INVALID, f"{where}: there is {found} where a private key should be")
    try:
        # `openssl ecparam` writes the curve as a block of its own in front of the key, which says it, too.
        start = pem.rindex(_BEGIN, 0, pem.index("PRIVATE KEY-----"))
        return load_pem_private_key(pem[start:].encode(), None if passphrase is None else passphrase.encode())
    except TypeError:
        raise PorticoError(
            CERTIFICATE_INVALID,
            f"{where}: the private key is encrypted",
            fix="Give the key without a passphrase (`openssl pkey -in key.pem -out plain.pem`).",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        if passphrase is not None:
            words = f"{where}: the passphrase does not open the private key"
            raise PorticoError(CERTIFICATE_INVALID, words, fix="Check the passphrase.") from None
        # The library's own words may quote what it read.
        raise PorticoError(CERTIFICATE_INVALID, f"{where}: the private key cannot be read") from None


def _mismatch(key: bytes, certificates: list[x509.Certificate]) -> str:
    for number, certificate in enumerate(certificates, 1):
        if _public_bytes(certificate.public_key()) == key:
            return f"the private key belongs to certificate {number} ({_name(certificate.subject)}); put that one first"
    return f"the private key does not match the certificate of {_name(certificates[0].subject)}"


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _authority_problem(certificate: x509.Certificate) -> str | None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "is not a CA: it has no basicConstraints"
    if not constraints.ca:
        return "is not a CA: its basicConstraints say cA false"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return None if usage.key_cert_sign else "may not sign certificates: its keyUsage lacks keyCertSign"


def _date_problem(certificate: x509.Certificate, now: datetime) -> str | None:
    if now >= certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return None


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        subject=_name(certificate.subject),
        names=_names(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """From the subject alternative name alone: no TLS client of today looks at the common name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _name(subject: x509.Name) -> str:
    """The common name if there is one, otherwise the whole subject."""
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(common[0].value) if common else subject.rfc4514_string() or "no subject")
