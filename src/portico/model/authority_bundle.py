"""A bundle of CAs as the edge takes it: certificates, and beside them their revocation lists (CRL, RFC 5280, 5).

Every refusal is PorticoError(CERTIFICATE_INVALID) whose message begins with `where`.
"""

import re
from datetime import datetime
from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from portico.model.errors import CERTIFICATE_INVALID, PorticoError

_BLOCK: Final = re.compile(r"-----BEGIN X509 CRL-----[A-Za-z0-9+/=\s]*-----END X509 CRL-----")
_MALFORMED: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def certificates_only(pem: str) -> str:
    """The certificates of a bundle that was checked, as PEM, without what else stands in it (CRLs, comments, keys)."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in x509.load_pem_x509_certificates(pem.encode()))


def read_revocations(pem: str, *, now: datetime, where: str) -> str | None:
    """The CRLs of a bundle of CAs, as PEM; None if it has none.

    If one CA has a CRL all must have one: a verifier refuses every certificate of a CA whose CRL it lacks.
    """
    if "-----BEGIN X509 CRL-----" not in pem:
        return None
    try:
        lists = [x509.load_pem_x509_crl(block.encode()) for block in _BLOCK.findall(pem)]
        authorities = x509.load_pem_x509_certificates(pem.encode())
        if len(lists) != pem.count("-----BEGIN X509 CRL-----"):
            raise ValueError("its PEM is damaged")
        problems = [problem for crl in lists if (problem := _problem(crl, authorities, now))]
        issuers = {crl.issuer for crl in lists}
        problems += [
            f"CA {authority.subject.rfc4514_string()!r} has no CRL, though others have"
            for authority in authorities
            if authority.subject not in issuers
        ]
    except _MALFORMED as error:
        raise PorticoError(CERTIFICATE_INVALID, f"{where}: a CRL cannot be read: {error}") from None
    if problems:
        raise PorticoError(
            CERTIFICATE_INVALID,
            "\n".join(f"{where}: {problem}" for problem in problems),
            fix="Give one current CRL of each CA in the bundle, or none at all.",
        )
    return "".join(crl.public_bytes(Encoding.PEM).decode() for crl in lists)


def _problem(crl: x509.CertificateRevocationList, authorities: list[x509.Certificate], now: datetime) -> str | None:
    name = f"the CRL of {crl.issuer.rfc4514_string()!r}"
    issuers = [authority for authority in authorities if authority.subject == crl.issuer]
    if not issuers:
        return f"{name} is of no CA in the bundle"
    if not any(_signed_by(crl, authority.public_key()) for authority in issuers):
        return f"{name} is not signed by that CA"
    if crl.next_update_utc is not None and now >= crl.next_update_utc:
        return f"{name} expired on {crl.next_update_utc:%Y-%m-%d}"
    return None


def _signed_by(crl: x509.CertificateRevocationList, key: PublicKeyTypes) -> bool:
    try:
        return crl.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", key))
    except TypeError:  # a key that signs nothing
        return False
