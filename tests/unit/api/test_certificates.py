import subprocess
from pathlib import Path

import pytest

from kit.api import Api
from kit.key_pairs import KeyPairs

SUBJECT = "/CN=app.example.com/O=Org/OU=Unit/L=City/ST=State/C=DE"


@pytest.fixture
def pairs(tmp_path: Path) -> KeyPairs:
    return KeyPairs(tmp_path, "Owner CA")


def self_signed(directory: Path, *options: str) -> dict[str, str]:
    command = ["openssl", "req", "-x509", "-noenc", "-keyout", "k.pem", "-out", "c.pem", "-days", "30"]
    command += ["-newkey", "rsa:2048", "-subj", SUBJECT, *options]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)
    return {
        "certificate_pem": (directory / "c.pem").read_text(),
        "private_key_pem": (directory / "k.pem").read_text(),
    }


async def test_what_a_certificate_says_is_shown_and_its_key_never(api: Api, tmp_path: Path) -> None:
    pem = self_signed(
        tmp_path,
        *("-addext", "subjectAltName=DNS:app.example.com,DNS:*.app.example.com,IP:192.0.2.1"),
        *("-addext", "keyUsage=digitalSignature,keyEncipherment"),
        *("-addext", "extendedKeyUsage=serverAuth,clientAuth,1.2.3.4"),
    )
    made = await api.make("/tls_certificates", {**pem, "description": "mine"})
    assert made["subject_alternative_names"] == {
        "dns_names": ["app.example.com", "*.app.example.com"],
        "ips": ["192.0.2.1"],
    }
    assert made["key_usages"] == ["digitalSignature", "keyEncipherment"]
    assert made["extended_key_usages"] == ["serverAuth", "clientAuth", "1.2.3.4"]
    assert [made[f"subject_{part}"] for part in ("organization", "organizational_unit", "locality", "province")] == [
        "Org",
        "Unit",
        "City",
        "State",
    ]
    assert (made["subject_country"], made["private_key_type"], made["issued_at"]) == ("DE", "rsa", None)
    assert made["subject_common_name"] == made["issuer_common_name"] == "app.example.com"
    assert int(made["serial_number"], 16) > 0
    for path in ("/tls_certificates", f"/tls_certificates/{made['id']}"):
        text = (await api.send("GET", path)).text
        assert "PRIVATE" not in text
    assert api.node.told == [("certificates",)]
    await api.send("DELETE", f"/tls_certificates/{made['id']}")
    assert api.node.told == [("certificates",)] * 2


async def test_unfit_pairs_are_refused_with_the_reason_and_nothing_of_the_key(
    api: Api, pairs: KeyPairs, tmp_path: Path
) -> None:
    certificate, key = (path.read_text() for path in pairs.issue("a.example.com"))
    other = pairs.issue("b.example.com")[1].read_text()
    nameless = self_signed(tmp_path)
    for pem, reason in (
        ({"certificate_pem": certificate, "private_key_pem": other}, "does not match"),
        ({"certificate_pem": key, "private_key_pem": key}, "private key where a certificate"),
        ({"certificate_pem": certificate, "private_key_pem": certificate}, "certificate where a private key"),
        ({"certificate_pem": "x", "private_key_pem": "y"}, "no PEM private key"),
        (nameless, "for no name"),
    ):
        answer = await api.send("POST", "/tls_certificates", pem)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "PORTICO_20068")
        assert reason in answer.json()["msg"]
        assert key.splitlines()[1] not in answer.text
    assert api.node.told == []


async def test_an_authority_is_checked_and_shown(api: Api, pairs: KeyPairs) -> None:
    made = await api.make("/certificate_authorities", {"ca_pem": pairs.ca.read_text()})
    assert (made["subject_common_name"], made["key_usages"]) == ("Owner CA", [])
    leaf = pairs.issue("a.example.com")[0].read_text()
    for pem, reason in ((leaf, "is not a CA"), ("x", "no PEM certificate"), (pairs.ca.read_text() + leaf, "CA 2")):
        answer = await api.send("POST", "/certificate_authorities", {"ca_pem": pem})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "PORTICO_20068")
        assert reason in answer.json()["msg"]
