import logging
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from portico.certificates.authority import CA_LIFETIME, LEAF_LIFETIME, Authority
from portico.certificates.certificates import edge_names
from portico.model.errors import CERTIFICATE_INVALID, DATA_DIR_UNUSABLE, PorticoError

NOW = datetime.now(UTC)


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def refusal(data_dir: Path, now: datetime = NOW) -> PorticoError:
    with pytest.raises(PorticoError) as caught:
        Authority.load_or_create(data_dir, now)
    assert caught.value.code is CERTIFICATE_INVALID
    return caught.value


def test_the_first_start_makes_a_ca_and_later_ones_keep_it(tmp_path: Path) -> None:
    made = Authority.load_or_create(tmp_path, NOW)
    assert (tmp_path / "ca.pem").read_text() == made.pem
    assert (tmp_path / "ca.pem").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert Authority.load_or_create(tmp_path, NOW + timedelta(days=100)).pem == made.pem
    assert abs(made.not_after - NOW - CA_LIFETIME) <= timedelta(seconds=1)


def test_openssl_sees_a_ca_that_may_sign_leaves_only(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path, NOW)
    text = openssl("x509", "-in", tmp_path / "ca.pem", "-noout", "-text")
    assert "CA:TRUE, pathlen:0" in text
    assert "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n" in text
    assert "X509v3 Subject Key Identifier" in text
    assert "X509v3 Authority Key Identifier" in text
    assert "NIST CURVE: P-256" in text


@pytest.mark.parametrize("domain", ["localhost", "tunnels.example.com"])
def test_openssl_accepts_a_leaf_for_each_of_its_names(tmp_path: Path, domain: str) -> None:
    authority = Authority.load_or_create(tmp_path, NOW)
    pair, not_after = authority.issue(edge_names(domain), NOW)
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(pair.certificate)
    verify = ("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tmp_path / "ca.pem")
    for name in (domain, f"connect.{domain}", f"api.{domain}", f"dashboard.{domain}", "localhost"):
        assert openssl(*verify, "-verify_hostname", name, leaf).endswith("OK\n")
    for address in ("127.0.0.1", "::1"):
        assert openssl(*verify, "-verify_ip", address, leaf).endswith("OK\n")
    if "." in domain:
        openssl(*verify, "-verify_hostname", f"any.{domain}", leaf)
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-verify_hostname", "other.example.org", leaf)
    text = openssl("x509", "-in", leaf, "-noout", "-text")
    assert "CA:FALSE" in text
    assert "TLS Web Server Authentication" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in text
    assert not_after - NOW <= LEAF_LIFETIME <= timedelta(days=397)


def test_a_long_name_gets_a_certificate_too(tmp_path: Path) -> None:
    host = ".".join(["x" * 60] * 4)
    authority = Authority.load_or_create(tmp_path, NOW)
    (tmp_path / "leaf.pem").write_text(authority.issue([host], NOW)[0].certificate)
    openssl("verify", "-CAfile", tmp_path / "ca.pem", "-verify_hostname", host, tmp_path / "leaf.pem")


def test_a_lost_certificate_is_made_again_from_the_key_and_trusts_the_same_leaves(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path, NOW)
    (tmp_path / "leaf.pem").write_text(authority.issue(["a.example"], NOW)[0].certificate)
    (tmp_path / "ca.pem").unlink()
    assert Authority.load_or_create(tmp_path, NOW).pem != authority.pem
    assert openssl("verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem").endswith("OK\n")


def test_a_lost_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    pem = Authority.load_or_create(tmp_path, NOW).pem
    (tmp_path / "ca-key.pem").unlink()
    assert "has no ca-key.pem beside it" in refusal(tmp_path).message
    assert (tmp_path / "ca.pem").read_text() == pem


def test_a_ca_that_is_unfit_is_refused_with_the_file_and_the_reason(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path, NOW)
    assert "expired on" in refusal(tmp_path, NOW + CA_LIFETIME).message
    key = (tmp_path / "ca-key.pem").read_text()
    other = tmp_path / "other"
    other.mkdir()
    Authority.load_or_create(other, NOW)
    (tmp_path / "ca-key.pem").write_text((other / "ca-key.pem").read_text())
    assert f"{tmp_path / 'ca-key.pem'}: the private key does not match" in refusal(tmp_path).message
    (tmp_path / "ca-key.pem").write_text("rubbish")
    assert "no PEM private key" in refusal(tmp_path).message
    (tmp_path / "ca-key.pem").write_text(openssl("genrsa", "2048"))
    assert "elliptic curve" in refusal(tmp_path).message
    (tmp_path / "ca-key.pem").write_text(key)
    (tmp_path / "ca.pem").write_text(Authority.create(NOW).issue(["a"], NOW)[0].certificate)
    assert f"{tmp_path / 'ca.pem'}: CA 1 ('a') is not a CA" in refusal(tmp_path).message


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(PorticoError) as caught:
        Authority.load_or_create(tmp_path / "gone", NOW)
    assert caught.value.code is DATA_DIR_UNUSABLE
    assert "gone" in caught.value.message


def test_a_key_that_others_could_read_is_made_private_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Authority.load_or_create(tmp_path, NOW)
    (tmp_path / "ca-key.pem").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        Authority.load_or_create(tmp_path, NOW)
    assert "others could read" in caplog.text
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_leaf_never_outlives_its_ca() -> None:
    authority = Authority.create(NOW)
    late = authority.not_after - timedelta(days=1)
    assert authority.issue(["a"], late)[1] == authority.not_after
    with pytest.raises(PorticoError, match="has expired"):
        authority.issue(["a"], authority.not_after)


def test_each_ca_has_its_own_name_and_each_leaf_its_own_key() -> None:
    one, other = Authority.create(NOW), Authority.create(NOW)
    subjects = {x509.load_pem_x509_certificate(ca.pem.encode()).subject for ca in (one, other)}
    assert len(subjects) == 2
    assert one.issue(["a"], NOW)[0].key != one.issue(["a"], NOW)[0].key


def test_no_key_is_logged_or_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    authority = Authority.load_or_create(tmp_path, NOW)
    pair, _ = authority.issue(["a"], NOW)
    secrets = [line for pem in (pair.key, (tmp_path / "ca-key.pem").read_text()) for line in pem.splitlines()[1:-1]]
    shown = f"{caplog.text}{authority!r}{pair!r}{vars(authority)}"
    assert caplog.records
    assert not any(secret in shown for secret in secrets)
