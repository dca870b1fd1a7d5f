"""Authtokens and API keys in the store: two tables of the same shape, so one repository, made for either."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ScalarResult, select
from sqlalchemy.orm import Session

from portico.model.owner import Owner
from portico.store.owners import to_owner
from portico.store.tables import ApiKeyRow, AuthtokenRow, OwnerRow
from portico.store.tokens import digest, new_id, shown_prefix


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of a token once it has been handed out."""

    id: str
    owner_id: str
    prefix: str
    description: str
    created_at: datetime


class Credentials:
    """The tokens of one kind, within one transaction."""

    def __init__(self, session: Session, table: type[AuthtokenRow | ApiKeyRow], id_kind: str) -> None:
        self._session = session
        self._table = table
        self._id_kind = id_kind

    def owner_of(self, token: str) -> Owner | None:
        """Whose token this is. One index lookup, below a millisecond: may be called in the event loop."""
        table = self._table
        row = self._session.scalar(
            select(OwnerRow).join(table, table.owner_id == OwnerRow.id).where(table.digest == digest(token))
        )
        return None if row is None else to_owner(row)

    def of_owner(self, owner_id: str) -> list[Credential]:
        """The owner's tokens, oldest first."""
        table = self._table
        rows: ScalarResult[AuthtokenRow | ApiKeyRow] = self._session.scalars(
            select(table).where(table.owner_id == owner_id).order_by(table.created_at, table.id)
        )
        return [_to_credential(row) for row in rows]

    def add(self, owner_id: str, token: str, *, source: str, description: str = "") -> Credential:
        """Keep the digest of a new token; no other owner may have it."""
        row = self._table(
            id=new_id(self._id_kind),
            owner_id=owner_id,
            digest=digest(token),
            prefix=shown_prefix(token),
            description=description,
            source=source,
        )
        self._session.add(row)
        self._session.flush()
        return _to_credential(row)

    def remove(self, credential_id: str) -> bool:
        """Revoke; False where there is none of this id."""
        row = self._session.get(self._table, credential_id)
        if row is None:
            return False
        self._session.delete(row)
        self._session.flush()
        return True


def _to_credential(row: AuthtokenRow | ApiKeyRow) -> Credential:
    return Credential(row.id, row.owner_id, row.prefix, row.description, row.created_at)
