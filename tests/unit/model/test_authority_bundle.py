from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.client_certificates import HOUR, VisitorAuthority
from portico.model.authority_bundle import certificates_only, read_revocations
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

NOW = datetime.now(UTC)
MEMBERS, OTHERS = VisitorAuthority("members"), VisitorAuthority("others")


def refused(pem: str) -> str:
    with pytest.raises(PorticoError) as caught:
        read_revocations(pem, now=NOW, where="cas.pem")
    assert caught.value.code is CERTIFICATE_INVALID
    return caught.value.message


def test_certificates_and_lists_are_told_apart() -> None:
    crl = MEMBERS.revocations(MEMBERS.issue())
    bundle = f"a comment\n{crl}{MEMBERS.pem}{MEMBERS.issue().key}"
    assert read_revocations(bundle, now=NOW, where="cas.pem") == crl
    assert certificates_only(bundle) == MEMBERS.pem


def test_no_list_is_none() -> None:
    assert read_revocations(MEMBERS.pem, now=NOW, where="cas.pem") is None


def test_every_authority_needs_a_list_if_one_has() -> None:
    assert "'CN=others' has no CRL" in refused(MEMBERS.pem + OTHERS.pem + MEMBERS.revocations())


def test_lists_that_are_unfit() -> None:
    assert "is of no CA in the bundle" in refused(MEMBERS.pem + MEMBERS.revocations() + OTHERS.revocations())
    assert "expired on" in refused(MEMBERS.pem + MEMBERS.revocations(next_update=-HOUR))
    impostor = VisitorAuthority("members")
    assert "not signed by that CA" in refused(MEMBERS.pem + impostor.revocations())


@given(st.text(max_size=40))
def test_damage_is_said(text: str) -> None:
    damaged = f"{MEMBERS.pem}-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n"
    assert "CRL" in refused(damaged)
