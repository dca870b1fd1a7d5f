"""What is PostgreSQL's alone: nodes beside each other, and a server that is not there."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from kit.postgres import PASSWORD, Postgres
from portico.model.errors import DATABASE_UNUSABLE, STORE_UNUSABLE, PorticoError
from portico.store.changes import RecordChange
from portico.store.sealing import KEY_FILE
from portico.store.store import Store
from portico.store.tables import API

TESTS = Path(__file__).parents[2]
CHANGE = RecordChange("credentials", "cr_1", "own_1")


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def data_dirs(tmp_path: Path) -> tuple[Path, Path]:
    """Of two nodes with the same vault.key."""
    both = tmp_path / "a", tmp_path / "b"
    for directory in both:
        directory.mkdir()
        (directory / KEY_FILE).write_text("ab" * 32)
    return both


@pytest.fixture
def nodes(data_dirs: tuple[Path, Path], url: str) -> Iterator[tuple[Store, Store]]:
    opened = Store.open(data_dirs[0], url), Store.open(data_dirs[1], url)
    yield opened
    for store in opened:
        store.close()


def refusal(data_dir: Path, url: str) -> PorticoError:
    with pytest.raises(PorticoError) as caught:
        Store.open(data_dir, url)
    error = caught.value
    assert PASSWORD not in f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"
    return error


def add_owner(store: Store, name: str) -> None:
    with store.write() as unit:
        unit.owners.add(name, source=API)


def names(store: Store) -> list[str]:
    with store.read() as unit:
        return [owner.name for owner in unit.owners.all()]


def test_nodes_that_start_at_once_make_one_schema_and_names_have_one_owner(
    data_dirs: tuple[Path, Path], url: str
) -> None:
    wanted = [f"name{number}.example" for number in range(40)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "kit.store_node", str(directory), url, *wanted],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for directory in data_dirs
    ]
    started = [process.stdout.readline() if process.stdout else "" for process in processes]
    told = [process.communicate("go\n", timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sorted(started) == ["first\n", "later\n"]
    assert sum((directory / "authtoken").exists() for directory in data_dirs) == 1
    got = [name for out, _ in told for name in out.split()]
    assert sorted(got) == sorted(wanted)


def test_what_one_node_writes_the_other_reads(nodes: tuple[Store, Store]) -> None:
    add_owner(nodes[0], "ann")
    assert names(nodes[1]) == ["ann"]


def test_a_unit_that_reads_writes_nothing(nodes: tuple[Store, Store]) -> None:
    with pytest.raises(PorticoError, match="read-only transaction"), nodes[0].read() as unit:
        unit.owners.add("ann", source=API)


def test_a_writer_waits_for_one_that_hangs_but_not_for_ever(
    nodes: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.store.postgres._LOCK_SECONDS", 1)
    with nodes[0].write() as unit:
        unit.owners.add("ann", source=API)
        assert names(nodes[1]) == [], "readers wait for nobody"
        with pytest.raises(PorticoError, match="lock timeout") as caught:
            add_owner(nodes[1], "bob")
        assert caught.value.code is DATABASE_UNUSABLE
    add_owner(nodes[1], "bob")
    assert names(nodes[0]) == ["ann", "bob"]


def test_a_node_that_hangs_loses_its_turn(nodes: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        with nodes[0].write() as unit:
            unit.owners.add("ann", source=API)
            monkeypatch.undo()
            add_owner(nodes[1], "bob")

    monkeypatch.setattr("portico.store.postgres._IDLE_SECONDS", 1)
    with pytest.raises(PorticoError):
        hang()
    assert names(nodes[1]) == ["bob"]


def test_what_is_wrong_is_told_with_host_and_database_and_without_the_password(
    tmp_path: Path, postgres: Postgres, url: str
) -> None:
    postgres.run("DROP ROLE IF EXISTS guest")
    postgres.run(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    name = url.rpartition("/")[2]
    place = f"'{name}' at 127.0.0.1:{postgres.port}"
    for wrong, reason in (
        (postgres.url(name, password="x" + PASSWORD), "password authentication failed"),
        (postgres.url(name, user="nobody"), "password authentication failed"),
        (postgres.url(name, user="guest"), "permission denied for schema public"),
    ):
        error = refusal(tmp_path, wrong)
        assert error.code is DATABASE_UNUSABLE
        assert reason in error.message
        assert place in error.message
    error = refusal(tmp_path, postgres.url("gone"))
    assert "does not exist" in error.message
    unused = url.replace(f":{postgres.port}/", ":1/")
    error = refusal(tmp_path, unused)
    assert f"cannot use the PostgreSQL database {name!r} at 127.0.0.1:1: " in error.message
    assert error.code.status == 503


def test_a_server_that_went_is_told_and_its_return_needs_no_help(
    nodes: tuple[Store, Store], postgres: Postgres
) -> None:
    add_owner(nodes[0], "ann")
    assert names(nodes[1]) == ["ann"]

    def lose_it() -> None:
        with nodes[0].write() as unit:
            unit.owners.add("bob", source=API)
            postgres.stop()

    try:
        with pytest.raises(PorticoError) as caught:
            lose_it()
        assert caught.value.code is DATABASE_UNUSABLE
        for store in nodes:
            with pytest.raises(PorticoError) as caught:
                names(store)
            assert caught.value.code is DATABASE_UNUSABLE
    finally:
        postgres.start()
    add_owner(nodes[1], "cid")
    assert names(nodes[0]) == ["ann", "cid"]


def test_who_failed_slowly_is_not_asked_again_at_once(
    nodes: tuple[Store, Store], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.store.postgres._REST", 1e6)
    postgres.stop()
    try:
        with pytest.raises(PorticoError) as first:
            names(nodes[0])
    finally:
        postgres.start()
    with pytest.raises(PorticoError) as second:
        names(nodes[0])
    assert second.value.message == first.value.message


def tell_and_fail(store: Store) -> None:
    with store.write() as unit:
        unit.tell(RecordChange("users", "usr_1", "own_1"))
        raise LookupError


async def test_the_others_hear_of_what_was_committed_and_of_nothing_else(nodes: tuple[Store, Store]) -> None:
    here, there = nodes
    async with aclosing(there.changes()) as changes:
        assert await anext(changes) is None
        with pytest.raises(LookupError):
            tell_and_fail(here)
        with there.write() as unit:
            unit.tell(RecordChange("users", "usr_2", "own_1"))
        with here.write() as unit:
            unit.tell(CHANGE)
        assert await anext(changes) == CHANGE


async def test_after_a_restart_of_the_server_anything_may_have_changed(
    nodes: tuple[Store, Store], postgres: Postgres
) -> None:
    here, there = nodes
    async with aclosing(there.changes()) as changes:
        assert await anext(changes) is None
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        assert await anext(changes) is None
        with here.write() as unit:
            unit.tell(CHANGE)
        assert await anext(changes) == CHANGE


async def test_notifications_of_strangers_are_passed_over(
    nodes: tuple[Store, Store], postgres: Postgres, url: str
) -> None:
    here, there = nodes
    async with aclosing(there.changes()) as changes:
        assert await anext(changes) is None
        for payload in ("", "x", "[]", "[1, 2, 3, 4]", '{"a": 1}', "null"):
            await asyncio.to_thread(postgres.run, f"NOTIFY portico, '{payload}'", url.rpartition("/")[2])
        with here.write() as unit:
            unit.tell(CHANGE)
        assert await anext(changes) == CHANGE


def test_a_node_with_another_vault_key_is_refused(tmp_path: Path, url: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    Store.open(first, url).close()
    assert (first / KEY_FILE).stat().st_mode & 0o777 == 0o600
    error = refusal(second, url)
    assert (error.code, "No such file" in error.message, KEY_FILE in error.fix) == (STORE_UNUSABLE, True, True)
    (second / KEY_FILE).write_text("00" * 32)
    assert "is not the key of the nodes that share this database" in refusal(second, url).message
    (second / KEY_FILE).write_text((first / KEY_FILE).read_text())
    Store.open(second, url).close()


def test_a_newer_schema_is_refused(tmp_path: Path, url: str, postgres: Postgres) -> None:
    Store.open(tmp_path, url).close()
    postgres.run("UPDATE alembic_version SET version_num = '9999'", url.rpartition("/")[2])
    error = refusal(tmp_path, url)
    assert error.code is STORE_UNUSABLE
    assert "was written by a newer version of Portico (its schema is 9999" in error.message


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, url: str, postgres: Postgres) -> None:
    name = url.rpartition("/")[2]
    postgres.run("CREATE TABLE domains (unexpected TEXT)", name)
    assert refusal(tmp_path, url).code is DATABASE_UNUSABLE
    rows = postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name)
    assert rows == [("domains",)]


def test_the_url_may_say_how_to_connect(tmp_path: Path, url: str) -> None:
    Store.open(tmp_path, url + "?sslmode=prefer&connect_timeout=5&application_name=mine").close()
    assert "server does not support SSL" in refusal(tmp_path, url + "?sslmode=require").message


def test_without_its_driver_postgres_is_refused(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "portico[postgres]" in refusal(tmp_path, url).fix
