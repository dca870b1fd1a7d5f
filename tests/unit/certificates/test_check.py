import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portico.certificates.check import check_own_pair
from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

NOW = datetime.now(UTC) + timedelta(hours=1)


NAMES = ("-addext", "subjectAltName=DNS:a.example,DNS:*.b.example")


def made(directory: Path, *key_type: str, names: tuple[str, ...] = NAMES) -> KeyPair:
    command = ["openssl", "req", "-x509", "-newkey", *key_type, "-noenc", "-keyout", "key.pem", "-out", "crt.pem"]
    subprocess.run([*command, "-subj", "/CN=x", *names], cwd=directory, check=True, capture_output=True, timeout=60)
    return KeyPair((directory / "crt.pem").read_text(), (directory / "key.pem").read_text())


@pytest.mark.parametrize("key_type", [("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")])
def test_what_envoy_serves_is_accepted(tmp_path: Path, key_type: tuple[str, ...]) -> None:
    pair = made(tmp_path, *key_type)
    assert check_own_pair(pair, now=NOW, where="own").names == ("a.example", "*.b.example")


@pytest.mark.parametrize("key_type", [("ed25519",), ("rsa:1024",), ("ec", "-pkeyopt", "ec_paramgen_curve:secp256k1")])
def test_a_key_that_envoy_cannot_serve_is_refused(tmp_path: Path, key_type: tuple[str, ...]) -> None:
    pair = made(tmp_path, *key_type)
    with pytest.raises(PorticoError, match="own: the edge cannot serve a key of this type") as caught:
        check_own_pair(pair, now=NOW, where="own")
    assert caught.value.code is CERTIFICATE_INVALID


def test_a_certificate_for_no_name_is_refused(tmp_path: Path) -> None:
    pair = made(tmp_path, "ec", "-pkeyopt", "ec_paramgen_curve:P-256", names=())
    with pytest.raises(PorticoError, match="own: the certificate is for no name"):
        check_own_pair(pair, now=NOW, where="own")
