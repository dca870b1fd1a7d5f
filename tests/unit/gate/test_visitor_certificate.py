"""What a visitor's certificate tells policies of tcp and tls endpoints."""

import urllib.parse
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from portico.gate.visitor_certificate import certificate_values
from portico.policy.variables import variables

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PREFIX = "conn.tls.client."


def encoded(*alternative: x509.GeneralName, serial: int = 0xABC) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Friends, Inc."),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "one"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
            x509.NameAttribute(NameOID.COMMON_NAME, "friend"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")])
    draft = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, BEGIN, BEGIN + timedelta(days=1))
    if alternative:
        draft = draft.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    pem = draft.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return urllib.parse.quote(pem)


def test_what_it_tells() -> None:
    names = (
        x509.DNSName("a.test"),
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.UniformResourceIdentifier("spiffe://a"),
    )
    found = {name.removeprefix(PREFIX): value for name, value in certificate_values(encoded(*names)).items()}
    assert found["pem"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert found["serial_number"] == "0abc"
    assert found["subject"] == r"CN=friend,OU=two,OU=one,O=Friends\, Inc."
    assert (found["subject.common_name"], found["issuer.common_name"]) == ("friend", "")
    assert found["subject.organization"] == ["Friends, Inc."]
    assert found["subject.organizational_unit"] == ["one", "two"]
    assert (found["issuer"], found["issuer.country"]) == ("C=DE", ["DE"])
    assert (found["san.dns_names"], found["san.uris"]) == (["a.test"], ["spiffe://a"])
    assert found["san.ip_addresses"] == ["192.0.2.1"]
    assert (found["validity.not_before"], found["validity.not_after"]) == (BEGIN, BEGIN + timedelta(days=1))


def test_without_other_names() -> None:
    assert certificate_values(encoded())[f"{PREFIX}san.dns_names"] == []


def test_all_variables_are_told() -> None:
    wanted = {name for name, one in variables().items() if name.startswith(PREFIX) and not one.missing}
    assert certificate_values(encoded()).keys() == wanted


@given(st.text())
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        certificate_values(text)
