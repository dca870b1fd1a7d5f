"""A store in PostgreSQL, which several nodes share.

Writing transactions come one after another on all nodes, by an advisory lock that each takes first: what was BEGIN
IMMEDIATE in a file. Units of work look first and write then (is this name free?), and some do what cannot be done
twice (they write files), so they can neither trust each other's moment nor be repeated, as SERIALIZABLE would demand.
Writes are rare, and readers wait for nobody.
"""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy import exc as database_errors
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from portico.model.errors import DATABASE_UNUSABLE, STORE_UNUSABLE, PorticoError
from portico.store.changes import CHANNEL, RecordChange
from portico.store.migrate import MIGRATES

WRITE_LOCK: Final = int.from_bytes(b"portico\0", "big")
"""Advisory locks are numbers that all users of a database share."""
_READERS: Final = 4
_WRITERS: Final = 2
"""One writes, one waits for the lock; more threads wait here and not at the server."""
_PATIENCE: Final = 10.0
"""Seconds for a connection of the pool."""
_CONNECT_SECONDS: Final = 3
_LIFE_SIGNS: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 5_000}
"""libpq's options (https://www.postgresql.org/docs/current/libpq-connect.html): a server that has gone without a word
is given up in seconds, where the kernel's own patience is a quarter of an hour."""
_LOCK_SECONDS: Final = 5
_MIGRATION_SECONDS: Final = 60
_IDLE_SECONDS: Final = 30
"""After which the server ends a writing transaction of a node that hangs: others would wait for it for ever."""
_REST: Final = 5
"""How many times as long as a failure took nobody tries again: one who asks may be the event loop."""


class Postgres:
    """A database of a PostgreSQL server."""

    shared: Final = True

    def __init__(self, url: str) -> None:
        """Nothing is connected yet. Raises PorticoError(STORE_UNUSABLE): the URL is none, or psycopg is missing."""
        self._target = target = target_of(url)
        hosts = target.query.get("host", target.host or "this machine")
        listed = ", ".join(hosts) if isinstance(hosts, tuple) else hosts
        self.name: Final = f"the PostgreSQL database {target.database!r} at {listed}" + (
            f":{target.port}" if target.port else ""
        )
        # A server that was restarted is no news to the unit that comes next.
        self.reader: Final = engine(target, _READERS, overflow=_READERS, pool_pre_ping=True)
        self.writer: Final = engine(target, _WRITERS, pool_pre_ping=True)
        event.listen(self.reader, "connect", _only_read)
        event.listen(self.writer, "begin", _wait_for_turn)
        self._rest_until = 0.0
        self._last_reason = ""

    def check(self) -> None:
        """Whether it answers."""
        with self.reader.connect() as connection:
            connection.execute(text("SELECT 1"))

    def tell(self, session: Session, payload: str) -> None:
        """With the commit, and not without it, all who listen hear it."""
        session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})

    def changes(self, own: str) -> AsyncGenerator[RecordChange | None]:
        """What other nodes tell."""
        from portico.store.notifications import notifications

        _, options = self.reader.dialect.create_connect_args(self._target)
        return notifications(self.name, {**options, **_options(self._target)}, own, self._answers)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises PorticoError(DATABASE_UNUSABLE), at once where it could not be reached a moment ago."""
        began = time.monotonic()
        if began < self._rest_until:
            raise self._error(self._last_reason)
        try:
            yield
        except database_errors.IntegrityError:
            raise  # a fault of the caller
        except (database_errors.DBAPIError, database_errors.TimeoutError) as error:
            self._last_reason = reason_of(error)
            if _is_unreachable(error):
                self._rest_until = time.monotonic() + _REST * (time.monotonic() - began)
            raise self._error(self._last_reason) from None

    def close(self) -> None:
        """Close all connections."""
        self.reader.dispose()
        self.writer.dispose()

    def _answers(self) -> None:
        self._rest_until = 0.0

    def _error(self, reason: str) -> PorticoError:
        return PorticoError(DATABASE_UNUSABLE, f"cannot use {self.name}: {reason}")


def target_of(url: str) -> URL:
    """What SQLAlchemy connects to. Raises PorticoError(STORE_UNUSABLE): the URL is none, or psycopg is missing."""
    try:
        import psycopg  # noqa: F401 - SQLAlchemy would tell of its absence in words of its own

        return make_url(url).set(drivername="postgresql+psycopg")
    except ImportError:
        raise PorticoError(
            STORE_UNUSABLE,
            "psycopg, which speaks with PostgreSQL, is missing",
            fix="Run `pip install 'portico[postgres]'`.",
        ) from None
    except database_errors.ArgumentError:
        raise PorticoError(
            STORE_UNUSABLE,
            "the database's URL cannot be read",
            fix="Write postgresql://user:password@host:port/name, with special characters of the password as %XX.",
        ) from None


def engine(target: URL, connections: int, *, overflow: int = 0, **options: Any) -> Engine:
    """Nothing is connected yet; `options` are SQLAlchemy's."""
    return create_engine(
        target,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=overflow,
        pool_timeout=_PATIENCE,
        connect_args=_options(target),
        **options,
    )


def _options(target: URL) -> dict[str, Any]:
    """What the URL does not say itself."""
    usual: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "application_name": "portico", **_LIFE_SIGNS}
    return {name: value for name, value in usual.items() if name not in target.query}


def _only_read(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    from psycopg import IsolationLevel

    connection.isolation_level = IsolationLevel.REPEATABLE_READ  # one moment's view
    connection.read_only = True


def _wait_for_turn(connection: Connection) -> None:
    patience = _MIGRATION_SECONDS if connection.get_execution_options().get(MIGRATES) else _LOCK_SECONDS
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = '{patience}s'; SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s';"
        f" SELECT pg_advisory_xact_lock({WRITE_LOCK})"
    )


def _is_unreachable(error: Exception) -> bool:
    """Whether the server was not reached, or lost; otherwise its answer has an SQLSTATE."""
    if not isinstance(error, database_errors.DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) is None


def reason_of(error: Exception) -> str:
    """What the driver or the server says; never the statement, and never a value."""
    if not isinstance(error, database_errors.DBAPIError):
        return f"all its connections are busy for {_PATIENCE:g} s"
    diagnosis = getattr(error.orig, "diag", None)
    primary = diagnosis.message_primary if diagnosis is not None else None
    return primary or "; ".join(str(error.orig).split("\n"))
