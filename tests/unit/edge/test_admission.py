"""Who may hold a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.edge.admission import Admission
from portico.model.errors import PorticoError
from portico.model.owner import DeclaredOwner
from portico.store.declared_owners import apply_owners
from portico.store.first_start import first_start
from portico.store.store import Store

ANNA = "anna's own token of 2026"


@pytest.fixture
def admission(tmp_path: Path) -> Iterator[Admission]:
    store = Store.open(tmp_path)
    first_start(store, tmp_path)
    apply_owners(store, [DeclaredOwner("anna", ANNA)])
    yield Admission(store)
    store.close()


def refused(number: int):
    return pytest.raises(PorticoError, check=lambda error: error.code.number == number)


def test_a_new_agent_gets_an_id_and_a_cookie(admission: Admission) -> None:
    admitted = admission.admit(ANNA, ["3", "2"], "", "")
    assert (admitted.owner.name, admitted.version, admitted.returning) == ("anna", "3", False)
    again = admission.admit(ANNA, ["2"], admitted.client_id, admitted.cookie)
    assert (again.client_id, again.version, again.returning) == (admitted.client_id, "2", True)


def test_an_id_without_its_cookie_is_nobody_s(admission: Admission, tmp_path: Path) -> None:
    admitted = admission.admit(ANNA, ["3"], "", "")
    for cookie in ("0" * 64, "ä" * 64):
        forged = admission.admit(ANNA, ["3"], admitted.client_id, cookie)
        assert not forged.returning
        assert forged.client_id != admitted.client_id
    other = (tmp_path / "authtoken").read_text().strip()
    stolen = admission.admit(other, ["3"], admitted.client_id, admitted.cookie)
    assert not stolen.returning


@pytest.mark.parametrize("token", ["", "x" * 600, "line\nbreak"])
def test_malformed_tokens(admission: Admission, token: str) -> None:
    with refused(105):
        admission.admit(token, ["3"], "", "")


def test_unknown_tokens_are_refused_and_not_repeated(admission: Admission) -> None:
    with refused(107) as caught:
        admission.admit("some-unknown-secret", ["3"], "", "")
    assert "some-unknown-secret" not in str(caught.value)


def test_versions_that_nobody_speaks(admission: Admission) -> None:
    with refused(121):
        admission.admit(ANNA, ["1"], "", "")
