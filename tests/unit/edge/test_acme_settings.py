from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.certificates.acme_rules import LETS_ENCRYPT, AcmeDirectory, DnsProvider
from portico.edge.settings_sources import load_settings
from portico.edge.settings_values import (
    parse_challenges,
    parse_directory_url,
    parse_email,
    parse_hmac_key,
    parse_switch,
)
from portico.model.acme import ChallengeKind
from portico.model.errors import PorticoError

HTTP, TLS, DNS = ChallengeKind.HTTP, ChallengeKind.TLS_ALPN, ChallengeKind.DNS
SECRET = "c2VjcmV0LWhtYWMta2V5"


def problems_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "edge.yml"
    path.write_text(text)
    with pytest.raises(PorticoError) as caught:
        load_settings({"config": str(path)}, {})
    return caught.value.message.replace(str(path), "edge.yml")


def test_off_by_default_and_lets_encrypt_when_on() -> None:
    assert load_settings({}, {}).acme_rules() is None
    rules = load_settings({"acme": "on"}, {}).acme_rules()
    assert rules is not None
    assert rules.directories == (AcmeDirectory(LETS_ENCRYPT),)
    assert rules.challenges == (TLS, HTTP, DNS)
    assert rules.orders_per_hour == 100


def test_everything_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    path = tmp_path / "edge.yml"
    path.write_text(
        f"""
acme: on
acme_email: ops@example.org
acme_challenges: [dns-01, http-01]
acme_directories:
  - url: https://ca.internal/acme
    ca_file: root.pem
    eab_kid: kid-1
    eab_hmac_key: {SECRET}
    profile: shortlived
  - {{}}
acme_dns:
  - zones: [example.org]
    provider: cloudflare
    options: {{auth_token: a-dns-secret}}
  - command: hooks/dns
"""
    )
    settings = load_settings({"config": str(path)}, {})
    rules = settings.acme_rules()
    assert rules is not None
    assert rules.directories == (
        AcmeDirectory("https://ca.internal/acme", str(tmp_path / "root.pem"), "kid-1", SECRET, "shortlived"),
        AcmeDirectory(LETS_ENCRYPT),
    )
    assert rules.challenges == (DNS, HTTP)
    assert rules.dns == (
        DnsProvider(("example.org",), "", "cloudflare", {"auth_token": "a-dns-secret"}, 30.0),
        DnsProvider((), str(tmp_path / "hooks" / "dns"), "", {}, 0.0),
    )
    assert SECRET not in repr(settings)
    assert "a-dns-secret" not in repr(settings)


def test_without_port_80_there_is_no_http_01() -> None:
    rules = load_settings({"acme": "on", "http_addr": "off"}, {}).acme_rules()
    assert rules is not None
    assert rules.challenges == (TLS, DNS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("acme: maybe", "edge.yml:1: acme: 'maybe' is neither on nor off"),
        ("acme_email: nobody", "'nobody' is not an e-mail address"),
        ("acme_challenges: http-02", "'http-02' is not a kind of challenge; there are http-01, tls-alpn-01, dns-01"),
        ("acme_challenges: []", "give at least one kind of challenge"),
        ("acme_directories: [{url: 'http://ca/dir'}]", "is not the https URL of an ACME directory"),
        ("acme_directories: [{ca_file: nowhere.pem}]", "cannot read"),
        ("acme_directories: [{eab_kid: kid}]", "eab_kid and eab_hmac_key go together"),
        ("acme_directories: [{}, {}]", f"{LETS_ENCRYPT} is declared twice"),
        ("acme_directories: [{uri: x}]", "there is no such key; did you mean 'url'?"),
        ("acme_dns: [{}]", "give either a provider or a command"),
        ("acme_dns: [{provider: a, command: b}]", "give either a provider or a command"),
        ("acme_dns: [{command: b, zones: ['not a name']}]", "is not a host name"),
        ("acme_orders_per_hour: 0", "acme_orders_per_hour"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    message = problems_of(tmp_path, text)
    assert complaint in message
    assert message.startswith("edge.yml:1: ")


def test_no_key_is_repeated(tmp_path: Path) -> None:
    for text in (
        f"acme_directories: [{{eab_kid: a, eab_hmac_key: '{SECRET} and space'}}]",
        f"acme_directories: [{{eab_kid: [{SECRET}]}}]",
        f"acme_dns: [{{provider: a, options: {SECRET}}}]",
        f"acme_dns: [{{provider: a, wait_seconds: {SECRET}}}]",
    ):
        assert SECRET not in problems_of(tmp_path, text)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.binary()))
def test_parsers_refuse_with_a_sentence_whatever_they_are_given(value: object) -> None:
    for parse in (parse_switch, parse_email, parse_challenges, parse_directory_url, parse_hmac_key):
        try:
            parse(value)
        except ValueError as error:
            assert str(error)
