"""Stores on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.postgres import new_database
from portico.store.store import Store

OpenStore = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """URL of a new database; None for a file."""
    return new_database(request)


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
