"""The edge's own certificate authority, while no public one vouches for its names.

`ca.pem` is what agents and visitors trust. The key never leaves the node.
"""

import logging
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portico.atomic_file import PRIVATE, PUBLIC, write_atomically
from portico.certificates.extensions import key_usage, subject_alternative_name
from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, DATA_DIR_UNUSABLE, PorticoError
from portico.model.x509 import read_authorities, read_key_pair, read_private_key

log = logging.getLogger(__name__)

CA_FILE: Final = "ca.pem"
CA_KEY_FILE: Final = "ca-key.pem"
CA_LIFETIME: Final = timedelta(days=3_650)
LEAF_LIFETIME: Final = timedelta(days=90)
"""Well below the 397 days that clients accept at most (CA/Browser Forum Baseline Requirements 6.3.2)."""
BACKDATED: Final = timedelta(hours=1)
"""Clocks of visitors may be behind ours."""
_RENEWAL: Final = "Move ca.pem and ca-key.pem away and start the edge again; give its new ca.pem to all agents."
_MAX_COMMON_NAME: Final = 64  # RFC 5280, ub-common-name


class Authority:
    """A CA that issues server certificates."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self._key_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        )

    @classmethod
    def create(cls, now: datetime) -> Self:
        """A new CA, kept nowhere."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_self_signed(key, now), key)

    @classmethod
    def load_or_create(cls, data_dir: Path, now: datetime) -> Self:
        """The CA of this data directory: `ca.pem` and `ca-key.pem` (mode 0600), made where neither is there.

        Raises PorticoError(CERTIFICATE_INVALID) where they are not a usable CA, DATA_DIR_UNUSABLE where they cannot be
        read or written.
        """
        try:
            return cls._load(data_dir, now) or cls._store_new(data_dir, now)
        except OSError as error:
            raise PorticoError(DATA_DIR_UNUSABLE, f"cannot use {error.filename}: {error.strerror}") from None

    @classmethod
    def _load(cls, data_dir: Path, now: datetime) -> Self | None:
        certificate_path, key_path = data_dir / CA_FILE, data_dir / CA_KEY_FILE
        if not certificate_path.exists() and not key_path.exists():
            return None
        if not key_path.exists():
            raise PorticoError(
                CERTIFICATE_INVALID,
                f"{certificate_path} has no {CA_KEY_FILE} beside it",
                fix="Restore the key from a backup; or move ca.pem away for a new CA, which agents must then be given.",
            )
        _tighten(key_path)
        key_pem = _text(key_path)
        key = read_private_key(key_pem, where=str(key_path))
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PorticoError(CERTIFICATE_INVALID, f"{key_path}: the key of the CA has to be an elliptic curve key")
        if not certificate_path.exists():
            # Name and key ids come from the key, so who trusts the lost certificate can trust this one's leaves.
            write_atomically(certificate_path, _pem(_self_signed(key, now)), mode=PUBLIC)
        pem = _text(certificate_path)
        read_authorities(pem, now=now, where=str(certificate_path))
        read_key_pair(KeyPair(pem, key_pem), now=now, where=str(key_path))
        return cls(x509.load_pem_x509_certificate(pem.encode()), key)

    @classmethod
    def _store_new(cls, data_dir: Path, now: datetime) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, now)
        # The key first: `_load` can make up for a certificate that a crash prevented, not for a key.
        write_atomically(data_dir / CA_KEY_FILE, _key_pem(key), mode=PRIVATE)
        write_atomically(data_dir / CA_FILE, _pem(certificate), mode=PUBLIC)
        log.info("made the edge's own certificate authority", extra={"path": str(data_dir / CA_FILE)})
        return cls(certificate, key)

    @property
    def pem(self) -> str:
        """The CA's certificate, for those who are to trust it."""
        return _pem(self._certificate)

    @property
    def not_after(self) -> datetime:
        """When the CA itself expires."""
        return self._certificate.not_valid_after_utc

    def issue(self, names: Sequence[str], now: datetime) -> tuple[KeyPair, datetime]:
        """A new key and server certificate for these DNS names, wildcards and IP addresses; and when it expires.

        Raises PorticoError(CERTIFICATE_INVALID) once the CA itself has expired.
        """
        if now >= self.not_after:
            raise PorticoError(CERTIFICATE_INVALID, "the edge's own CA has expired", fix=_RENEWAL)
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + LEAF_LIFETIME, self.not_after)
        certificate = (
            _builder(_common_name(names[0]), self._certificate.subject, key, (now - BACKDATED, not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(subject_alternative_name(names), critical=False)
            .add_extension(self._key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(_pem(certificate), _key_pem(key)), certificate.not_valid_after_utc


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The tail tells several edges' CAs apart in a trust store.
    name = _common_name(f"Portico edge CA {key_id.digest[:4].hex()}")
    return (
        _builder(name, name, key, (now - BACKDATED, now + CA_LIFETIME))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_MAX_COMMON_NAME])])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _text(path: Path) -> str:
    return path.read_bytes().decode("ascii", "replace")


def _tighten(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        log.warning("others could read the CA's key; taking that away", extra={"path": str(path)})
        os.chmod(path, PRIVATE)
