"""A store in a file: for an edge of one node."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from portico.model.errors import STORE_UNUSABLE, PorticoError
from portico.store.changes import RecordChange

FILE_NAME: Final = "portico.db"
_BUSY_MILLISECONDS: Final = 5_000
_WRITES: Final = "portico_writes"


class SqliteFile:
    """`<data-dir>/portico.db`."""

    shared: Final = False

    def __init__(self, data_dir: Path) -> None:
        """Make the file where it is missing. Raises PorticoError(STORE_UNUSABLE)."""
        self._path = data_dir / FILE_NAME
        self.name: Final = str(self._path)
        self.reader: Final = _engine(self._path)
        self.writer: Final = self.reader.execution_options(**{_WRITES: True})
        _make_private(self._path)

    def check(self) -> None:
        """Find damage before anything is built on it."""
        with self.reader.connect() as connection:
            result = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
            if result != "ok":
                raise sqlite3.DatabaseError(result)

    def tell(self, session: Session, payload: str) -> None:
        """Nobody else is there."""

    async def changes(self, own: str) -> AsyncGenerator[RecordChange | None]:
        """None at all."""
        nobody: tuple[RecordChange, ...] = ()
        for change in nobody:
            yield change

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises PorticoError(STORE_UNUSABLE)."""
        try:
            yield
        except IntegrityError:
            raise  # a fault of the caller, not of the file
        except OperationalError as error:
            raise PorticoError(STORE_UNUSABLE, f"cannot use {self.name}: {error.orig}") from None
        except (DatabaseError, sqlite3.DatabaseError) as error:
            reason = getattr(error, "orig", error)
            raise PorticoError(
                STORE_UNUSABLE,
                f"{self.name} is damaged: {reason}",
                fix="Restore the file from a backup, or move it away to start with a new store.",
            ) from None

    def close(self) -> None:
        """Close all connections."""
        self.reader.dispose()


def _engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # sqlite3 would begin transactions by itself, late, and never for DDL: `_begin` does it instead
    # (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#enabling-non-legacy-sqlite-transactional-modes-with-the-sqlite3-or-aiosqlite-driver).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    # In WAL mode a power cut may lose the last commits but never corrupts (https://sqlite.org/pragma.html#pragma_synchronous);
    # a token that was shown must not be lost, and writes are rare.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer; one that begins as a writer can.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_private(path: Path) -> None:
    """SQLite gives its side files the mode of the database, so it is enough to make this one ourselves."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise PorticoError(STORE_UNUSABLE, f"cannot write {path}: {error.strerror}") from None
