"""The store of an edge: a database, and units of work on it.

All calls are synchronous. Units that only read take well under a millisecond and may run in the event loop; units that
write wait for the disk, so call them through `asyncio.to_thread`.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy.orm import Session

from portico.store.acme import Acme
from portico.store.audit import AuditLog
from portico.store.changes import RecordChange, pack
from portico.store.cloud_endpoints import CloudEndpoints
from portico.store.credentials import Credentials, SshCredentials
from portico.store.database import Database
from portico.store.domains import Domains
from portico.store.idempotency import Answers
from portico.store.ip_policies import IpPolicies, IpPolicyRules
from portico.store.migrate import migrate
from portico.store.owners import Owners
from portico.store.records import ACTING_USER
from portico.store.reserved_addrs import ReservedAddrs
from portico.store.sealing import Sealer
from portico.store.signing_keys import VAULT_KEY, SigningKeys
from portico.store.sqlite import SqliteFile
from portico.store.tables import ApiKeyRow, AuthtokenRow
from portico.store.uploads import CertificateAuthorities, TlsCertificates
from portico.store.users import Users
from portico.store.vaults import Secrets, Vaults


class Unit:
    """One transaction, with a repository for each aggregate."""

    def __init__(self, session: Session, sealer: Sealer, tell: Callable[[RecordChange], None]) -> None:
        """`tell` tells other nodes, once the transaction is committed."""
        self.tell = tell
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

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._node = secrets.token_hex(8)
        self._sealer = Sealer(data_dir)

    @classmethod
    def open(cls, data_dir: Path, database: str | None = None) -> Self:
        """Open `<data-dir>/portico.db`, or the PostgreSQL database of this URL; bring its schema up to date first.

        Raises PorticoError: STORE_UNUSABLE where it is damaged, not writable, written by a newer Portico, or shared by
        nodes with another vault.key; DATABASE_UNUSABLE where PostgreSQL cannot be reached or does not let us.
        """
        opened = _database(data_dir, database)
        try:
            with opened.explained():
                opened.check()
                migrate(opened.reader, opened.writer, opened.name)
            store = cls(opened, data_dir)
            if opened.shared:
                store._check_vault_key()
        except BaseException:
            opened.close()
            raise
        return store

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A unit that only reads, from one moment's view. Raises PorticoError as `open`."""
        with self._database.explained(), Session(self._database.reader) as session:
            yield self._unit(session)

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A unit that is committed at the end, or undone by an exception. Raises PorticoError as `open`."""
        with self._database.explained(), Session(self._database.writer) as session, session.begin():
            yield self._unit(session)

    def changes(self) -> AsyncGenerator[RecordChange | None]:
        """What other nodes that share the store have changed, from now on; None where it may be anything.

        Ends at once where nobody shares it.
        """
        return self._database.changes(self._node)

    def _check_vault_key(self) -> None:
        with self.read() as unit:
            known = unit.signing_keys.find(VAULT_KEY)
        if known is not None:
            self._sealer.check_shared(known)
            return
        with self.write() as unit:
            known = unit.signing_keys.find(VAULT_KEY)
            mine = self._sealer.check_shared(known)
            if known is None:
                unit.signing_keys.add(VAULT_KEY, mine)

    def _unit(self, session: Session) -> Unit:
        return Unit(session, self._sealer, lambda change: self._database.tell(session, pack(self._node, change)))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def _database(data_dir: Path, url: str | None) -> Database:
    if url is None:
        return SqliteFile(data_dir)
    # Imported here: an edge of one node needs no driver of PostgreSQL.
    from portico.store.postgres import Postgres

    return Postgres(url)
