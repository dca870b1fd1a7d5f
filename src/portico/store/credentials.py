"""What lets somebody in: authtokens and API keys (two tables of the same shape), and the public keys of SSH."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from portico.model.acl import EVERYTHING, Acl
from portico.model.owner import Owner
from portico.store.owners import to_owner
from portico.store.records import Records
from portico.store.tables import ApiKeyRow, AuthtokenRow, OwnerRow, SshCredentialRow
from portico.store.tokens import digest, new_id, shown_prefix

T = TypeVar("T", bound=AuthtokenRow | ApiKeyRow)


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of a token once it has been handed out."""

    id: str
    owner_id: str
    prefix: str
    description: str
    note: str
    created_at: datetime
    source: str
    acl: Acl = EVERYTHING
    user_id: str | None = None
    """Whose it is among the owner's users; None where it is the owner's own."""


@dataclass(frozen=True, slots=True)
class SshCredential:
    """A public key that may open sessions."""

    id: str
    owner_id: str
    public_key: str
    """One line of OpenSSH's form, without comment."""
    fingerprint: str
    """`SHA256:` and base64, as `ssh-keygen -l` shows it."""
    description: str
    note: str
    created_at: datetime
    acl: Acl


class Credentials(Records[T, Credential]):
    """The tokens of one kind, within one transaction."""

    def __init__(self, session: Session, table: type[T], kind: str) -> None:
        super().__init__(session, table, kind, _to_credential)

    def owner_of(self, token: str) -> Owner | None:
        """Whose token this is."""
        found = self.holder_of(token)
        return found[0] if found else None

    def holder_of(self, token: str) -> tuple[Owner, Credential] | None:
        """Whose token this is, and which. One index lookup, below a millisecond: may be called in the event loop."""
        table = self._table
        found = self._session.execute(
            select(OwnerRow, table).join(table, table.owner_id == OwnerRow.id).where(table.digest == digest(token))
        ).first()
        return None if found is None else (to_owner(found[0]), _to_credential(found[1]))

    def of_owner(self, owner_id: str) -> list[Credential]:
        """The owner's tokens, oldest first."""
        return [credential for credential in self.all() if credential.owner_id == owner_id]

    def add(self, owner_id: str, token: str, *, source: str, description: str = "", note: str = "") -> Credential:
        """Keep the digest of a new token; no other owner may have it."""
        return self._keep(
            self._table(
                id=new_id(self._kind),
                owner_id=owner_id,
                digest=digest(token),
                prefix=shown_prefix(token),
                description=description,
                note=note,
                source=source,
            )
        )


class SshCredentials(Records[SshCredentialRow, SshCredential]):
    """The SSH keys, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, SshCredentialRow, "sshcr", _to_ssh_credential)

    def holder_of(self, fingerprint: str) -> tuple[Owner, SshCredential] | None:
        """Whose key this is (`SHA256:…`), and which. One index lookup."""
        table = SshCredentialRow
        found = self._session.execute(
            select(OwnerRow, table).join(table, table.owner_id == OwnerRow.id).where(table.fingerprint == fingerprint)
        ).first()
        return None if found is None else (to_owner(found[0]), _to_ssh_credential(found[1]))

    def add(
        self,
        owner_id: str,
        public_key: str,
        fingerprint: str,
        *,
        acl: Sequence[str] = (),
        description: str = "",
        note: str = "",
    ) -> SshCredential:
        """Keep a key; nobody may have it yet."""
        return self._keep(
            SshCredentialRow(
                id=new_id(self._kind),
                owner_id=owner_id,
                public_key=public_key,
                fingerprint=fingerprint,
                acl=list(acl),
                description=description,
                note=note,
            )
        )


def _to_credential(row: AuthtokenRow | ApiKeyRow) -> Credential:
    acl = Acl(tuple(row.acl or ())) if isinstance(row, AuthtokenRow) else EVERYTHING
    return Credential(
        id=row.id,
        owner_id=row.owner_id,
        prefix=row.prefix,
        description=row.description or "",
        note=row.note or "",
        created_at=row.created_at,
        source=row.source,
        acl=acl,
        user_id=row.user_id,
    )


def _to_ssh_credential(row: SshCredentialRow) -> SshCredential:
    return SshCredential(
        id=row.id,
        owner_id=row.owner_id,
        public_key=row.public_key,
        fingerprint=row.fingerprint,
        description=row.description,
        note=row.note,
        created_at=row.created_at,
        acl=Acl(tuple(row.acl)),
    )
