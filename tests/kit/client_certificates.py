"""Certificates that visitors show, fit and unfit, and the lists of those revoked."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portico.model.endpoint import KeyPair

HOUR = timedelta(hours=1)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_PEM = serialization.Encoding.PEM


class VisitorAuthority:
    """A CA whose leaves are for clients, unless told otherwise."""

    def __init__(
        self, name: str = "visitors", *, starts: timedelta = -HOUR, lasts: timedelta = 24 * HOUR, is_ca: bool = True
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._chain = ""
        basic = x509.BasicConstraints(ca=is_ca, path_length=None)
        builder = self._builder(self._name, self._key.public_key(), starts, lasts).add_extension(basic, critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM).decode()

    def intermediate(self, name: str) -> Self:
        """An authority that this one vouches for; its leaves bring its certificate along."""
        below = type(self)(name)
        basic = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(below._name, below._key.public_key(), -HOUR, 24 * HOUR)
        certificate = builder.add_extension(basic, critical=True).sign(self._key, hashes.SHA256())
        below.pem = below._chain = certificate.public_bytes(_PEM).decode()
        return below

    def issue(
        self,
        name: str = "visitor",
        *,
        starts: timedelta = -HOUR,
        lasts: timedelta = 24 * HOUR,
        usage: Sequence[x509.ObjectIdentifier] = CLIENT,
        dns: Sequence[str] = (),
        email: Sequence[str] = (),
        with_rsa: bool = False,
    ) -> KeyPair:
        """A certificate with its key, valid from `starts` (as seen from now) for `lasts`."""
        key = rsa.generate_private_key(65_537, 2_048) if with_rsa else ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_name(name), key.public_key(), starts, lasts)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        )
        names = [*map(x509.DNSName, dns), *map(x509.RFC822Name, email)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return KeyPair(certificate.public_bytes(_PEM).decode() + self._chain, private.decode())

    def revocations(self, *revoked: KeyPair, next_update: timedelta = 24 * HOUR) -> str:
        """The CRL with these leaves, as PEM."""
        now = datetime.now(UTC)
        draft = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now - 2 * HOUR)
        draft = draft.next_update(now + next_update)
        for pair in revoked:
            serial = x509.load_pem_x509_certificates(pair.certificate.encode())[0].serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR)
            draft = draft.add_revoked_certificate(entry.build())
        return draft.sign(self._key, hashes.SHA256()).public_bytes(_PEM).decode()

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        starts: timedelta,
        lasts: timedelta,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + starts + lasts)
        )


def written(pair: KeyPair, directory: Path, name: str = "visitor") -> tuple[Path, Path]:
    """The files of a certificate and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    return certificate, key


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
