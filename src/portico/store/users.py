"""Users in the store: people of an owner, each with a role."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portico.model.owner import Role
from portico.store.records import Records
from portico.store.tables import ApiKeyRow, AuthtokenRow, SshCredentialRow, UserRow
from portico.store.tokens import new_id

_CREDENTIALS = (AuthtokenRow, SshCredentialRow, ApiKeyRow)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who acts for an owner."""

    id: str
    owner_id: str
    name: str
    email: str
    role: Role
    description: str
    note: str
    created_at: datetime
    credential_ids: tuple[str, ...]
    """Of his authtokens, SSH keys and API keys, which end with him."""


class Users(Records[UserRow, User]):
    """The users, within one transaction. Each sees himself, whoever made him."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, UserRow, "usr", self._to_user)
        self._seen_by = UserRow.id

    def with_email(self, owner_id: str, email: str) -> User | None:
        """The owner's user of this address."""
        row = self._session.scalar(select(UserRow).where(UserRow.owner_id == owner_id, UserRow.email == email))
        return None if row is None else self._to_user(row)

    def add(self, owner_id: str, name: str, email: str, role: Role, *, description: str = "", note: str = "") -> User:
        """A new user; the owner has none of this address."""
        row = UserRow(id=new_id(self._kind), owner_id=owner_id, description=description, note=note)
        row.name, row.email, row.role = name, email, role.value
        return self._keep(row)

    def remove(self, record_id: str) -> bool:
        """Remove one with his credentials; what else he made stays the owner's. False where there is none."""
        for table in _CREDENTIALS:
            self._session.execute(delete(table).where(table.user_id == record_id))
        return super().remove(record_id)

    def _to_user(self, row: UserRow) -> User:
        return User(
            id=row.id,
            owner_id=row.owner_id,
            name=row.name,
            email=row.email,
            role=Role(row.role),
            description=row.description,
            note=row.note,
            created_at=row.created_at,
            credential_ids=tuple(
                ident
                for table in _CREDENTIALS
                for ident in self._session.scalars(select(table.id).where(table.user_id == row.id))
            ),
        )
