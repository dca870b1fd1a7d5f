"""The variables of a visitor's certificate, as the runtime of HTTP's policies has them (`runtime/variables.lua`)."""

import urllib.parse
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_CLIENT: Final = "conn.tls.client"
_SEVERAL: Final = {
    "country": NameOID.COUNTRY_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizational_unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "postal_code": NameOID.POSTAL_CODE,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "street_address": NameOID.STREET_ADDRESS,
}


def certificate_values(encoded: str) -> dict[str, Any]:
    """What is known of a certificate in PEM, URL-encoded as Envoy has it. Raises ValueError."""
    pem = urllib.parse.unquote(encoded)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    serial = f"{certificate.serial_number:x}"
    values: dict[str, Any] = {
        "pem": pem,
        "serial_number": serial.zfill(len(serial) + len(serial) % 2),
        "san.dns_names": _alternative(certificate, x509.DNSName),
        "san.ip_addresses": _alternative(certificate, x509.IPAddress),
        "san.uris": _alternative(certificate, x509.UniformResourceIdentifier),
        "validity.not_before": certificate.not_valid_before_utc,
        "validity.not_after": certificate.not_valid_after_utc,
        **_party("subject", certificate.subject),
        **_party("issuer", certificate.issuer),
    }
    return {f"{_CLIENT}.{name}": value for name, value in values.items()}


def _party(name: str, party: x509.Name) -> dict[str, Any]:
    common = party.get_attributes_for_oid(NameOID.COMMON_NAME)
    several = {
        f"{name}.{key}": [str(one.value) for one in party.get_attributes_for_oid(oid)] for key, oid in _SEVERAL.items()
    }
    return {
        name: party.rfc4514_string(),
        f"{name}.common_name": str(common[-1].value) if common else "",  # the last of a certificate is RFC 2253's first
        **several,
    }


def _alternative(
    certificate: x509.Certificate, kind: type[x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier]
) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(one) for one in names.value.get_values_for_type(kind)]
