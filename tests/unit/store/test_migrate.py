import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect

from portico.model.errors import STORE_UNUSABLE, PorticoError
from portico.store.migrate import HEAD, SCRIPTS, current_revision, migrate
from portico.store.sqlite import FILE_NAME
from portico.store.store import Store
from portico.store.tables import FIRST_START, Base


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / FILE_NAME}")
    yield made
    made.dispose()


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return ScriptDirectory.from_config(config)


def test_an_empty_database_gets_all_tables(engine: Engine) -> None:
    assert current_revision(engine) is None
    migrate(engine, engine, "test")
    assert current_revision(engine) == HEAD
    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_the_migrations_make_what_the_model_says(engine: Engine) -> None:
    migrate(engine, engine, "test")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrations_are_one_line_that_ends_at_head() -> None:
    assert scripts().get_heads() == [HEAD]
    assert all(revision.doc for revision in scripts().walk_revisions())


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.write() as unit:
        ann = unit.owners.add("ann", source=FIRST_START)
    store.close()
    store = Store.open(tmp_path)
    with store.read() as unit:
        assert unit.owners.all() == [ann]
    store.close()


def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE domains (unexpected TEXT)")
    connection.close()
    with pytest.raises(PorticoError) as caught:
        Store.open(tmp_path)
    assert caught.value.code is STORE_UNUSABLE
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"domains"}


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(PorticoError) as caught:
        Store.open(tmp_path)
    assert caught.value.code is STORE_UNUSABLE
    assert "was written by a newer version of Portico (its schema is 9999" in caught.value.message
    assert "newer version" in caught.value.fix


def test_a_migration_can_be_taken_back(engine: Engine) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        command.downgrade(config, "base")
        command.upgrade(config, "head")
    assert current_revision(engine) == HEAD
