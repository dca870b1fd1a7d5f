import logging
from pathlib import Path

import pytest

from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError
from portico.store.first_start import first_start
from portico.store.signing_keys import COOKIES
from portico.store.store import Store


def text(path: Path) -> str:
    return path.read_text().removesuffix("\n")


def test_the_first_start_makes_credentials_that_work(store: Store, tmp_path: Path) -> None:
    assert first_start(store, tmp_path)
    with store.read() as unit:
        owner = unit.owners.find("default")
        assert owner is not None
        assert unit.authtokens.owner_of(text(tmp_path / "authtoken")) == owner
        assert unit.api_keys.owner_of(text(tmp_path / "api-key")) == owner
        assert len(unit.signing_keys.find(COOKIES) or b"") == 32
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("authtoken", "api-key")} == {0o600}


def test_later_starts_leave_all_as_it_is(store: Store, tmp_path: Path) -> None:
    first_start(store, tmp_path)
    token = text(tmp_path / "authtoken")
    (tmp_path / "authtoken").unlink()
    assert not first_start(store, tmp_path)
    assert not (tmp_path / "authtoken").exists()
    with store.read() as unit:
        assert unit.authtokens.owner_of(token) is not None


def test_a_revoked_first_token_does_not_return(store: Store, tmp_path: Path) -> None:
    first_start(store, tmp_path)
    with store.write() as unit:
        owner = unit.owners.find("default")
        assert owner is not None
        for credential in unit.authtokens.of_owner(owner.id):
            unit.authtokens.remove(credential.id)
    assert not first_start(store, tmp_path)
    with store.read() as unit:
        assert unit.authtokens.owner_of(text(tmp_path / "authtoken")) is None


def test_a_start_that_fails_in_the_middle_is_made_good_by_the_next(store: Store, tmp_path: Path) -> None:
    (tmp_path / "api-key").mkdir()
    with pytest.raises(PorticoError) as caught:
        first_start(store, tmp_path)
    assert caught.value.code is DATA_DIR_UNUSABLE
    (tmp_path / "api-key").rmdir()
    assert first_start(store, tmp_path)
    with store.read() as unit:
        assert unit.authtokens.owner_of(text(tmp_path / "authtoken")) is not None


def test_no_credential_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sqlalchemy.engine")
    store = Store.open(tmp_path)
    first_start(store, tmp_path)
    store.close()
    assert "INSERT INTO api_keys" in caplog.text
    assert text(tmp_path / "authtoken") not in caplog.text
    assert text(tmp_path / "api-key") not in caplog.text


def test_tokens_have_their_form(store: Store, tmp_path: Path) -> None:
    first_start(store, tmp_path)
    authtoken, api_key = text(tmp_path / "authtoken"), text(tmp_path / "api-key")
    assert authtoken.startswith("pt_")
    assert api_key.startswith("pak_")
    assert authtoken[3:].isalnum()
    assert len(authtoken[3:]) == len(api_key[4:]) == 32
