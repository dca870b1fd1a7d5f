"""Owners in the store."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portico.model.owner import Owner
from portico.store.tables import OwnerRow
from portico.store.tokens import new_id


class Owners:
    """The owners, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Owner]:
        """All, by name."""
        return [to_owner(row) for row in self._session.scalars(select(OwnerRow).order_by(OwnerRow.name))]

    def find(self, name: str) -> Owner | None:
        """The owner of this name."""
        row = self._session.scalar(select(OwnerRow).where(OwnerRow.name == name))
        return None if row is None else to_owner(row)

    def get(self, owner_id: str) -> Owner | None:
        """The owner of this id."""
        row = self._session.get(OwnerRow, owner_id)
        return None if row is None else to_owner(row)

    def add(
        self, name: str, *, source: str, max_sessions: int | None = None, max_endpoints: int | None = None
    ) -> Owner:
        """A new owner; the name must be free."""
        row = OwnerRow(
            id=new_id("own"), name=name, source=source, max_sessions=max_sessions, max_endpoints=max_endpoints
        )
        self._session.add(row)
        self._session.flush()
        return to_owner(row)


def to_owner(row: OwnerRow) -> Owner:
    """The row as a value of the model."""
    return Owner(row.id, row.name, row.max_sessions, row.max_endpoints)
