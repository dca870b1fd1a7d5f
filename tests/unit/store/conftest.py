"""Stores on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.postgres import Postgres
from portico.store.store import Store

OpenStore = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """URL of a new database; None for a file."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def open_store(tmp_path: Path, database: str | None) -> Iterator[OpenStore]:
    """Opens a store of the test, always the same one."""
    opened: list[Store] = []

    def opens() -> Store:
        opened.append(Store.open(tmp_path, database))
        return opened[-1]

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()
