"""Row 1.24: of all certificates that are valid for a name, the best one is shown."""

from datetime import UTC, datetime, timedelta

import pytest

from portico.certificates.authority import Authority
from portico.certificates.certificates import Certificates
from portico.certificates.uploads import Upload, Uploads
from portico.model.acme import AcmeCertificate
from portico.model.x509 import read_key_pair_facts

NOW = datetime.now(UTC)
HOST, WILD, DOMAIN = "a.example.org", "*.example.org", "t.example.com"


def public(*names: str) -> AcmeCertificate:
    pair, not_after = Authority.create(NOW).issue(names, NOW)
    return AcmeCertificate(names[0], names, pair, NOW - timedelta(hours=1), not_after)


def upload(name: str) -> Upload:
    pair, _ = Authority.create(NOW).issue((name,), NOW)
    return Upload(name, "owner", pair, read_key_pair_facts(pair))


@pytest.mark.parametrize(
    ("uploaded", "automatic", "best"),
    [
        (None, None, "own"),
        (None, WILD, "automatic"),
        (HOST, None, "uploaded"),
        (HOST, HOST, "uploaded"),
        (WILD, WILD, "uploaded"),
        (HOST, WILD, "uploaded"),
        (WILD, HOST, "automatic"),
    ],
)
def test_row_1_24_exact_before_wildcard_then_uploaded_before_automatic(
    uploaded: str | None, automatic: str | None, best: str
) -> None:
    uploads = Uploads(lambda _owner, _host: True)
    hand_in = [upload(uploaded)] if uploaded else []
    uploads.replace(hand_in, {})
    issued = public(automatic) if automatic else None
    certificates = Certificates(
        Authority.create(NOW), DOMAIN, lambda _: True, uploads, lambda host: issued if host == HOST else None
    )
    shown = certificates.for_name(HOST)
    known = {"uploaded": hand_in[0].pair if hand_in else None, "automatic": issued.pair if issued else None}
    assert next((name for name, pair in known.items() if pair is not None and pair == shown), "own") == best


def test_the_edge_shows_its_public_certificate_and_its_own_for_localhost() -> None:
    issued = public(DOMAIN, f"*.{DOMAIN}")
    certificates = Certificates(
        Authority.create(NOW), DOMAIN, lambda _: True, None, lambda host: issued if host.endswith(DOMAIN) else None
    )
    assert certificates.edge_pair() == issued.pair
    assert certificates.for_name(f"api.{DOMAIN}") == issued.pair
    assert certificates.local_pair() != issued.pair
    assert read_key_pair_facts(certificates.local_pair()).names == ("localhost", "127.0.0.1", "::1")
    assert certificates.expiries().edge == issued.not_after
