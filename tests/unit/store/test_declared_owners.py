from collections.abc import Callable
from pathlib import Path

import pytest

from portico.model.errors import SETTING_INVALID, PorticoError
from portico.model.owner import DeclaredOwner
from portico.store.declared_owners import apply_owners
from portico.store.first_start import first_start
from portico.store.store import Store

ANN = DeclaredOwner("ann", "token-of-ann-1234", ("ann.example", "*.ann.example"), max_sessions=2, max_endpoints=3)
BOB = DeclaredOwner("bob", "token-of-bob-1234", ("bob.example",))


@pytest.fixture
def store(open_store: Callable[[], Store], tmp_path: Path) -> Store:
    opened = open_store()
    first_start(opened, tmp_path)
    return opened


def names(store: Store) -> list[str]:
    with store.read() as unit:
        return [owner.name for owner in unit.owners.all()]


def domains(store: Store) -> dict[str, str]:
    with store.read() as unit:
        owners = {owner.id: owner.name for owner in unit.owners.all()}
        return {domain.name: owners[domain.owner_id] for domain in unit.domains.all()}


def name_of(store: Store, token: str | None) -> str | None:
    with store.read() as unit:
        owner = unit.authtokens.owner_of(token or "")
        return owner and owner.name


def test_declared_owners_are_made_and_stay_the_same(store: Store) -> None:
    apply_owners(store, [ANN, BOB])
    with store.read() as unit:
        before = (unit.owners.all(), unit.domains.all())
    assert (name_of(store, ANN.authtoken), name_of(store, BOB.authtoken)) == ("ann", "bob")
    apply_owners(store, [BOB, ANN])
    with store.read() as unit:
        assert (unit.owners.all(), unit.domains.all()) == before
        ann = unit.owners.find("ann")
        assert ann is not None
        assert (ann.max_sessions, ann.max_endpoints) == (2, 3)


def test_what_the_file_declares_no_longer_is_removed(store: Store) -> None:
    apply_owners(store, [ANN, BOB])
    apply_owners(store, [DeclaredOwner("ann", "another-token-of-ann", ("*.ann.example",))])
    assert names(store) == ["ann", "default"]
    assert domains(store) == {"*.ann.example": "ann"}
    assert (name_of(store, ANN.authtoken), name_of(store, BOB.authtoken)) == (None, None)
    assert name_of(store, "another-token-of-ann") == "ann"
    with store.read() as unit:
        ann = unit.owners.find("ann")
        assert ann is not None
        assert (ann.max_sessions, ann.max_endpoints) == (None, None)


def test_a_domain_and_a_token_can_change_hands(store: Store) -> None:
    apply_owners(store, [ANN, BOB])
    apply_owners(store, [DeclaredOwner("ann", BOB.authtoken, BOB.domains), DeclaredOwner("bob", ANN.authtoken)])
    assert domains(store) == {"bob.example": "ann"}
    assert (name_of(store, ANN.authtoken), name_of(store, BOB.authtoken)) == ("bob", "ann")


def test_the_default_owner_keeps_what_the_first_start_gave_him(store: Store, tmp_path: Path) -> None:
    first_token = (tmp_path / "authtoken").read_text().strip()
    apply_owners(store, [DeclaredOwner("default", "a-token-from-the-file", ("d.example",), max_sessions=7)])
    assert name_of(store, first_token) == name_of(store, "a-token-from-the-file") == "default"
    apply_owners(store, [])
    with store.read() as unit:
        default = unit.owners.find("default")
        assert default is not None
        assert default.max_sessions is None
    assert name_of(store, first_token) == "default"
    assert name_of(store, "a-token-from-the-file") is None
    assert domains(store) == {}


def test_an_owner_from_elsewhere_keeps_his_own_limits(store: Store) -> None:
    with store.write() as unit:
        api_made = unit.owners.add("made-by-the-api", source="api", max_sessions=5)
    apply_owners(store, [ANN])
    with store.read() as unit:
        assert unit.owners.find("made-by-the-api") == api_made


def test_what_belongs_to_somebody_else_is_refused_and_nothing_changes(store: Store, tmp_path: Path) -> None:
    first_token = (tmp_path / "authtoken").read_text().strip()
    with store.write() as unit:
        default = unit.owners.find("default")
        assert default is not None
        unit.domains.add(default.id, "taken.example", source="api")
    apply_owners(store, [ANN])
    for wrong in (DeclaredOwner("eve", first_token), DeclaredOwner("eve", "x" * 20, ("taken.example",))):
        with pytest.raises(PorticoError) as caught:
            apply_owners(store, [BOB, wrong])
        assert caught.value.code is SETTING_INVALID
        assert first_token not in str(caught.value)
        assert names(store) == ["ann", "default"]
