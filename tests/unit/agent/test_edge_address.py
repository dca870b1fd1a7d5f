import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.agent.edge_address import EdgeAddress, Trust, edge_context
from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, PorticoError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("edge.example.com", EdgeAddress("edge.example.com", 443)),
        ("edge.example.com:8443", EdgeAddress("edge.example.com", 8443)),
        ("https://edge.example.com/", EdgeAddress("edge.example.com", 443)),
        ("tls://edge.example.com:1", EdgeAddress("edge.example.com", 1)),
        ("127.0.0.1:4443", EdgeAddress("127.0.0.1", 4443)),
        ("[::1]:4443", EdgeAddress("::1", 4443)),
        ("[::1]", EdgeAddress("::1", 443)),
    ],
)
def test_addresses(text: str, address: EdgeAddress) -> None:
    assert EdgeAddress.parse(text) == address
    assert EdgeAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", ":443", "host:", "host:0", "host:99999", "http://host", "a b", "host/path", "::1"]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(PorticoError) as caught:
        EdgeAddress.parse(text)
    assert caught.value.code is OPTION_INVALID


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        EdgeAddress.parse(text)
    except PorticoError as error:
        assert error.code is OPTION_INVALID


@pytest.mark.parametrize(
    "content", [None, b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_unreadable_cas(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PorticoError, match="connect_cas") as caught:
        edge_context(str(path))
    assert caught.value.code is CERTIFICATE_INVALID


@pytest.mark.parametrize("word", ["", "host", "trusted"])
def test_the_systems_cas(word: str) -> None:
    assert edge_context(word).check_hostname


@pytest.mark.parametrize("file", [None, "nowhere.pem", "nothing.pem"])
def test_the_systems_cas_are_those_that_python_knows(
    file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if file is not None:
        (tmp_path / "nothing.pem").write_text("nothing")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / file))
        monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}:{tmp_path / 'nowhere'}")
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual.load_default_certs()
    assert edge_context("host").get_ca_certs() == usual.get_ca_certs()


def test_trust_is_the_context_or_says_why_there_is_none(tmp_path: Path) -> None:
    assert Trust("").context().get_ca_certs() == edge_context("").get_ca_certs()
    trust = Trust(str(tmp_path / "nowhere.pem"))
    for _ in range(2):
        with pytest.raises(PorticoError, match="there is no file") as caught:
            trust.context()
        assert caught.value.code is CERTIFICATE_INVALID
