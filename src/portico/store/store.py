"""The store of an edge: a database file, and units of work on it.

All calls are synchronous. Units that only read take well under a millisecond and may run in the event loop; units that
write wait for the disk, so call them through `asyncio.to_thread`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from portico.model.errors import STORE_UNUSABLE, PorticoError
from portico.store.acme import Acme
from portico.store.audit import AuditLog
from portico.store.cloud_endpoints import CloudEndpoints
from portico.store.credentials import Credentials, SshCredentials
from portico.store.domains import Domains
from portico.store.idempotency import Answers
from portico.store.ip_policies import IpPolicies, IpPolicyRules
from portico.store.migrate import migrate
from portico.store.owners import Owners
from portico.store.records import ACTING_USER
from portico.store.reserved_addrs import ReservedAddrs
from portico.store.sealing import Sealer
from portico.store.signing_keys import SigningKeys
from portico.store.tables import ApiKeyRow, AuthtokenRow
from portico.store.uploads import CertificateAuthorities, TlsCertificates
from portico.store.users import Users
from portico.store.vaults import Secrets, Vaults

FILE_NAME: Final = "portico.db"
_BUSY_MILLISECONDS: Final = 5_000
_WRITES: Final = "portico_writes"


class Unit:
    """One transaction, with a repository for each aggregate."""

    def __init__(self, session: Session, sealer: Sealer) -> None:
        self.session = session
        self.owners = Owners(session)
        self.users = Users(session)
        self.authtokens = Credentials(session, AuthtokenRow, "cr")
        self.api_keys = Credentials(session, ApiKeyRow, "ak")
        self.ssh_credentials = SshCredentials(session)
        self.domains = Domains(session)
        self.reserved_addrs = ReservedAddrs(session)
        self.tls_certificates = TlsCertificates(session)
        self.certificate_authorities = CertificateAuthorities(session)
        self.cloud_endpoints = CloudEndpoints(session)
        self.ip_policies = IpPolicies(session)
        self.ip_policy_rules = IpPolicyRules(session)
        self.vaults = Vaults(session)
        self.secrets = Secrets(session, sealer)
        self.audit = AuditLog(session)
        self.answers = Answers(session)
        self.signing_keys = SigningKeys(session)
        self.acme = Acme(session)

    def act_for(self, user_id: str | None) -> None:
        """What is made from now on is this user's; None means the owner himself."""
        self.session.info[ACTING_USER] = user_id


class Store:
    """An open store."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._sealer = Sealer(path.parent)
        self._writer = engine.execution_options(**{_WRITES: True})

    @classmethod
    def open(cls, data_dir: Path) -> Self:
        """Open `<data-dir>/portico.db`, making it or bringing its schema up to date first.

        Raises PorticoError(STORE_UNUSABLE): corrupt, not writable, or written by a newer Portico.
        """
        path = data_dir / FILE_NAME
        engine = _engine(path)
        try:
            _make_private(path)
            with _explained(path):
                _check(engine)
                migrate(engine.execution_options(**{_WRITES: True}), str(path))
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, path)

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A unit that only reads, from one moment's view. Raises PorticoError(STORE_UNUSABLE)."""
        with _explained(self._path), Session(self._engine) as session:
            yield Unit(session, self._sealer)

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A unit that is committed at the end, or undone by an exception. Raises PorticoError(STORE_UNUSABLE)."""
        with _explained(self._path), Session(self._writer) as session, session.begin():
            yield Unit(session, self._sealer)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


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


def _check(engine: Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if result != "ok":
            raise sqlite3.DatabaseError(result)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise  # a fault of the caller, not of the file
    except OperationalError as error:
        raise PorticoError(STORE_UNUSABLE, f"cannot use {path}: {error.orig}") from None
    except (DatabaseError, sqlite3.DatabaseError) as error:
        reason = getattr(error, "orig", error)
        raise PorticoError(
            STORE_UNUSABLE,
            f"{path} is damaged: {reason}",
            fix="Restore the file from a backup, or move it away to start with a new store.",
        ) from None
