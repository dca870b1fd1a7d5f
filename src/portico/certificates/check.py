"""Checks of what owners hand in for the edge itself: the rules of `model/x509.py`, and what Envoy can serve."""

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError
from portico.model.x509 import CertificateFacts, read_key_pair

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_MIN_RSA_BITS: Final = 2_048


def check_own_pair(pair: KeyPair, *, now: datetime, where: str) -> CertificateFacts:
    """An owner's certificate and key. Raises PorticoError(CERTIFICATE_INVALID), naming `where`, if unfit."""
    facts = read_key_pair(pair, now=now, where=where)
    if not facts.names:
        raise PorticoError(
            CERTIFICATE_INVALID,
            f"{where}: the certificate is for no name",
            fix="Give a certificate with subject alternative names; clients look at nothing else.",
        )
    _check_key_type(pair, where)
    return facts


def _check_key_type(pair: KeyPair, where: str) -> None:
    """Envoy serves RSA from 2048 bits and ECDSA on the NIST curves (envoy: source/common/tls/context_impl.cc)."""
    key = x509.load_pem_x509_certificates(pair.certificate.encode())[0].public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return
    raise PorticoError(
        CERTIFICATE_INVALID,
        f"{where}: the edge cannot serve a key of this type",
        fix="Use RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521.",
    )
