"""What the API shows of certificates, in ngrok's words."""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
_EXTENDED: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
}


def first_certificate(pem: str) -> x509.Certificate:
    """The first one of PEM that was checked before."""
    return x509.load_pem_x509_certificates(pem.encode())[0]


def name_part(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    """One attribute of a distinguished name, empty where it has none."""
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def common_name(name: x509.Name) -> str:
    """Its common name."""
    return name_part(name, NameOID.COMMON_NAME)


def key_usages(certificate: x509.Certificate) -> list[str]:
    """What its key may be used for, in X.509's words (`digitalSignature`, …)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return []
    return [_camel(name) for name in _USAGES if getattr(usage, name)]


def extended_key_usages(certificate: x509.Certificate) -> list[str]:
    """What for besides: names where they have one, otherwise dotted numbers."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    return [_EXTENDED.get(usage, usage.dotted_string) for usage in usages]


def key_type(certificate: x509.Certificate) -> str:
    """rsa, ecdsa, ed25519, or empty."""
    key = certificate.public_key()
    types = ((rsa.RSAPublicKey, "rsa"), (ec.EllipticCurvePublicKey, "ecdsa"), (ed25519.Ed25519PublicKey, "ed25519"))
    return next((name for kind, name in types if isinstance(key, kind)), "")


def alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """DNS names and IP addresses."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return names.get_values_for_type(x509.DNSName), [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]


def _camel(name: str) -> str:
    if name == "crl_sign":
        return "cRLSign"
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
