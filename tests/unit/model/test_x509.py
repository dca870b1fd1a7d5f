import base64
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError
from portico.model.x509 import CertificateFacts, read_authorities, read_key_pair, read_private_key

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey = KEY, passphrase: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def certificate(
    name: str,
    *extensions: x509.ExtensionType,
    key: ec.EllipticCurvePrivateKey = KEY,
    start: datetime = NOW - YEAR,
    end: datetime = NOW + YEAR,
) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=subject,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=start,
        not_valid_after=end,
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    made = builder.sign(KEY, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def san(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


CA = x509.BasicConstraints(ca=True, path_length=None)
LEAF = certificate("leaf", san("A.example", "*.b.example"))


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(PorticoError) as caught:
        read()
    assert caught.value.code is CERTIFICATE_INVALID
    assert all(line.startswith("--crt: ") for line in caught.value.message.splitlines())
    return caught.value.message.replace("--crt: ", "")


def pair_refusal(certificate_pem: str, key: str) -> str:
    return refusal(lambda: read_key_pair(KeyPair(certificate_pem, key), now=NOW, where="--crt"))


def test_a_pair_tells_what_it_is_for() -> None:
    facts = read_key_pair(KeyPair(LEAF, key_pem()), now=NOW, where="--crt")
    assert facts == CertificateFacts("'leaf'", ("a.example", "*.b.example"), NOW - YEAR, NOW + YEAR)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("a.example", True),
        ("x.a.example", False),
        ("x.b.example", True),
        ("x.y.b.example", False),
        ("b.example", False),
        ("*.b.example", True),
        ("*.x.b.example", False),
        ("leaf", False),
        ("example", False),
    ],
)
def test_a_name_or_a_wildcard_of_one_label_covers_a_host(host: str, covered: bool) -> None:
    facts = read_key_pair(KeyPair(LEAF, key_pem()), now=NOW, where="--crt")
    assert facts.covers(host) is covered


def test_a_certificate_without_alternative_names_covers_nothing() -> None:
    facts = read_key_pair(KeyPair(certificate("a.example"), key_pem()), now=NOW, where="--crt")
    assert facts.names == ()
    assert not facts.covers("a.example")


def test_a_key_must_match_the_first_certificate() -> None:
    assert pair_refusal(LEAF, key_pem(OTHER_KEY)) == "the private key does not match the certificate of 'leaf'"
    chain = certificate("intermediate", CA, key=OTHER_KEY) + LEAF
    assert pair_refusal(chain, key_pem()) == "the private key belongs to certificate 2 ('leaf'); put that one first"


def test_dates_count() -> None:
    expired = certificate("old", san("a"), end=NOW)
    early = certificate("new", san("a"), start=NOW + timedelta(days=1))
    assert pair_refusal(expired, key_pem()) == "the certificate of 'old' expired on 2026-06-01"
    assert pair_refusal(early, key_pem()) == "the certificate of 'new' is not valid before 2026-06-02"


def test_an_encrypted_key_is_told_from_a_broken_one() -> None:
    assert pair_refusal(LEAF, key_pem(passphrase=b"secret")) == "the private key is encrypted"
    broken = key_pem().replace("M", "N", 1)
    assert pair_refusal(LEAF, broken) == "the private key cannot be read"
    assert pair_refusal(LEAF, "PRIVATE KEY-----") == "the private key cannot be read"


def test_files_in_the_wrong_place_are_recognized() -> None:
    assert pair_refusal(key_pem(), key_pem()) == "there is a private key where a certificate should be"
    assert pair_refusal(LEAF, LEAF) == "there is a certificate where a private key should be"
    assert pair_refusal("", key_pem()) == "there is no PEM certificate where a certificate should be"
    assert pair_refusal(LEAF, "hello") == "there is no PEM private key where a private key should be"


def test_every_bad_ca_of_a_bundle_is_named_with_its_reason() -> None:
    no_signing = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    bundle = "some words between\n".join(
        [
            certificate("good", CA),
            certificate("expired", CA, end=NOW),
            certificate("leaf", x509.BasicConstraints(ca=False, path_length=None)),
            certificate("ancient"),
            certificate("mute", CA, no_signing),
        ]
    )
    assert refusal(lambda: read_authorities(bundle, now=NOW, where="--crt")).splitlines() == [
        "CA 2 ('expired') expired on 2026-06-01",
        "CA 3 ('leaf') is not a CA: its basicConstraints say cA false",
        "CA 4 ('ancient') is not a CA: it has no basicConstraints",
        "CA 5 ('mute') may not sign certificates: its keyUsage lacks keyCertSign",
    ]


def test_a_good_bundle_may_have_several_cas() -> None:
    bundle = certificate("one", CA) + "# comment\n" + certificate("two", CA)
    assert [facts.subject for facts in read_authorities(bundle, now=NOW, where="--crt")] == ["'one'", "'two'"]


@pytest.mark.parametrize("pem", ["", "hello", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_a_readable_ca_is_refused(pem: str) -> None:
    assert refusal(lambda: read_authorities(pem, now=NOW, where="--crt"))


def test_what_openssl_writes_is_read(tmp_path: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", "ec.pem")
    openssl("genrsa", "-traditional", "-out", "rsa.pem", "2048")
    openssl("genpkey", "-algorithm", "ed25519", "-out", "ed.pem")
    assert "EC PARAMETERS" in (tmp_path / "ec.pem").read_text()
    for name in ("ec", "rsa", "ed"):
        subject = ("-subj", "/CN=made by openssl", "-addext", "subjectAltName=DNS:a.example,IP:::1")
        openssl("req", "-x509", "-key", f"{name}.pem", "-out", f"{name}-crt.pem", "-days", "30", "-text", *subject)
        pair = KeyPair((tmp_path / f"{name}-crt.pem").read_text(), (tmp_path / f"{name}.pem").read_text())
        facts = read_key_pair(pair, now=datetime.now(UTC) + timedelta(hours=1), where="--crt")
        assert facts.names == ("a.example", "::1")
    openssl("rsa", "-in", "rsa.pem", "-traditional", "-aes128", "-passout", "pass:secret", "-out", "locked.pem")
    assert "encrypted" in pair_refusal((tmp_path / "rsa-crt.pem").read_text(), (tmp_path / "locked.pem").read_text())


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography reads some odd certificates with a warning
@settings(max_examples=300)
@given(st.integers(0, 600), st.integers(0, 255))
def test_a_certificate_with_any_wrong_byte_is_read_or_refused(place: int, value: int) -> None:
    der = bytearray(
        x509.load_pem_x509_certificate(certificate("leaf", CA, san("a.example")).encode()).public_bytes(
            serialization.Encoding.DER
        )
    )
    der[place % len(der)] = value
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(bytes(der)).decode()}-----END CERTIFICATE-----\n"
    for read in (
        lambda: read_authorities(pem, now=NOW, where="--crt"),
        lambda: read_key_pair(KeyPair(pem, key_pem()), now=NOW, where="--crt"),
    ):
        try:
            read()
        except PorticoError as error:
            assert error.code is CERTIFICATE_INVALID


@given(st.text(max_size=100))
def test_any_text_is_refused_and_never_repeated(text: str) -> None:
    for key in (text, f"-----BEGIN PRIVATE KEY-----\nsecret{text}\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(PorticoError) as caught:
            read_private_key(key, where="--key")
        assert "secret" not in caught.value.message
