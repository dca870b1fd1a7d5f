import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from portico.model.errors import DOMAIN_RESERVED, STORE_UNUSABLE, URL_INVALID, PorticoError
from portico.store.sqlite import FILE_NAME
from portico.store.store import Store
from portico.store.tables import FIRST_START

TOKEN = "a-very-secret-authtoken"


def refusal(data_dir: Path) -> PorticoError:
    with pytest.raises(PorticoError) as caught:
        Store.open(data_dir)
    assert caught.value.code is STORE_UNUSABLE
    return caught.value


def test_the_file_and_its_side_files_are_private(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.write() as unit:
        unit.owners.add("ann", source=FIRST_START)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == {FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600, f"{FILE_NAME}-shm": 0o600}


def test_an_owner_is_found_by_name_and_by_token(store: Store) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START, max_sessions=3)
        unit.authtokens.add(ann.id, TOKEN, source=FIRST_START)
    with store.read() as unit:
        assert unit.owners.find("ann") == ann
        assert unit.owners.find("bob") is None
        assert unit.owners.all() == [ann]
        assert unit.authtokens.owner_of(TOKEN) == ann
        assert unit.authtokens.owner_of(TOKEN + "x") is None
        assert unit.authtokens.owner_of("\ud800") is None
        assert unit.api_keys.owner_of(TOKEN) is None, "an authtoken is no API key"


def test_a_revoked_token_is_unknown(store: Store) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        credential = unit.api_keys.add(ann.id, TOKEN, source=FIRST_START, description="for the tests")
        assert unit.api_keys.of_owner(ann.id) == [credential]
        assert unit.api_keys.remove(credential.id)
        assert not unit.api_keys.remove(credential.id)
        assert unit.api_keys.owner_of(TOKEN) is None


def test_a_token_is_not_in_the_files_and_lists_show_its_beginning(store: Store, tmp_path: Path) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        credential = unit.authtokens.add(ann.id, TOKEN, source=FIRST_START)
        assert unit.authtokens.of_owner(ann.id)[0].prefix == TOKEN[:5]
    assert TOKEN not in repr(credential)
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_moments_are_aware(store: Store) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        domain = unit.domains.add(ann.id, "a.example", source=FIRST_START)
    with store.read() as unit:
        created = unit.domains.all()[0].created_at
    assert created == domain.created_at
    assert abs(datetime.now(UTC) - created) < timedelta(hours=1)


def test_the_most_specific_reservation_counts(store: Store) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        for name in ("*.example", "*.Team.Example", "one.team.example"):
            unit.domains.add(ann.id, name, source=FIRST_START)

        def reserved(host: str) -> str | None:
            domain = unit.domains.reservation_of(host)
            return domain and domain.name

        assert reserved("one.team.example") == "one.team.example"
        assert reserved("two.team.example") == "*.team.example"
        assert reserved("a.two.team.example") == "*.team.example"
        assert reserved("*.team.example") == "*.team.example"
        assert reserved("team.example") == "*.example"
        assert reserved("example") is None


def test_a_domain_has_one_owner(store: Store) -> None:
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        domain = unit.domains.add(ann.id, "a.example", source=FIRST_START)
        with pytest.raises(PorticoError) as caught:
            unit.domains.add(ann.id, "A.Example.", source=FIRST_START)
        assert caught.value.code is DOMAIN_RESERVED
        with pytest.raises(PorticoError) as caught:
            unit.domains.add(ann.id, "a b", source=FIRST_START)
        assert caught.value.code is URL_INVALID
        assert unit.domains.remove(domain.id)
        assert not unit.domains.remove(domain.id)
        unit.domains.add(ann.id, "a.example", source=FIRST_START)


def test_an_exception_undoes_the_whole_unit(store: Store) -> None:
    def add_twice() -> None:
        with store.write() as unit:
            ann = unit.owners.add("ann", source=FIRST_START)
            unit.authtokens.add(ann.id, TOKEN, source=FIRST_START)
            unit.authtokens.add(ann.id, TOKEN, source=FIRST_START)

    with pytest.raises(IntegrityError) as caught:
        add_twice()
    assert TOKEN not in str(caught.value)
    with store.read() as unit:
        assert unit.owners.all() == []


def test_a_credential_needs_an_owner_that_exists(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as unit:
        unit.authtokens.add("own_nobody", TOKEN, source=FIRST_START)


def test_threads_that_write_wait_for_each_other(store: Store) -> None:
    def add(name: str) -> None:
        with store.write() as unit:
            assert unit.owners.find(name) is None
            unit.owners.add(name, source=FIRST_START)

    names = [f"owner-{number:02}" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, names))
    with store.read() as unit:
        assert [owner.name for owner in unit.owners.all()] == names


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.read() as before:
        assert before.owners.all() == []
        with store.write() as unit:
            unit.owners.add("ann", source=FIRST_START)
        assert before.owners.all() == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 100)
    error = refusal(tmp_path)
    assert f"{tmp_path / FILE_NAME} is damaged: file is not a database" in error.message
    assert "backup" in error.fix


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.write() as unit:
        for number in range(500):
            unit.owners.add(f"owner-{number}", source=FIRST_START)
    store.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(20 * 4096))
    assert "is damaged" in refusal(tmp_path).message


def test_a_directory_in_the_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert "Is a directory" in refusal(tmp_path).message


def test_a_database_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    (tmp_path / FILE_NAME).chmod(0o400)
    if os.access(tmp_path / FILE_NAME, os.W_OK):
        pytest.skip("this user may write everything")
    assert "Permission denied" in refusal(tmp_path).message


def test_a_write_that_the_database_refuses_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.store.sqlite._BUSY_MILLISECONDS", 50)
    store = Store.open(tmp_path)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PorticoError, match="database is locked") as caught, store.write() as unit:
        unit.owners.add("ann", source=FIRST_START)
    assert caught.value.code is STORE_UNUSABLE
    other.close()
    store.close()


def test_no_token_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "sqlalchemy.engine")
    store = Store.open(tmp_path)
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
        unit.authtokens.add(ann.id, TOKEN, source=FIRST_START)
        unit.authtokens.owner_of(TOKEN)
    store.close()
    assert "INSERT INTO authtokens" in caplog.text
    assert TOKEN not in caplog.text
