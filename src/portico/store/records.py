"""What the repositories of owners' things have in common."""

from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from portico.store.tables import Record

R = TypeVar("R", bound=Record)
V = TypeVar("V")


class Records(Generic[R, V]):
    """The rows of one table, within one transaction, as values."""

    def __init__(self, session: Session, table: type[R], kind: str, to_value: Callable[[R], V]) -> None:
        """`kind` begins the ids."""
        self._session = session
        self._table = table
        self._kind = kind
        self._to_value = to_value

    def page(self, *, owner_id: str | None = None, before_id: str | None = None, limit: int = 100) -> list[V]:
        """At most `limit`, newest first, of one owner or of all; those made before `before_id`."""
        query = select(self._table).order_by(self._table.id.desc()).limit(limit)
        if owner_id is not None:
            query = query.where(self._table.owner_id == owner_id)
        if before_id is not None:
            query = query.where(self._table.id < before_id)
        return [self._to_value(row) for row in self._session.scalars(query)]

    def all(self) -> list[V]:
        """All, oldest first."""
        return [self._to_value(row) for row in self._session.scalars(select(self._table).order_by(self._table.id))]

    def find(self, record_id: str, *, owner_id: str | None = None) -> V | None:
        """The one of this id, if it is that owner's."""
        row = self._session.get(self._table, record_id)
        if row is None or owner_id not in (None, row.owner_id):
            return None
        return self._to_value(row)

    def change(self, record_id: str, **changes: object) -> V:
        """Set columns of the row, which must be there."""
        row = self._session.get_one(self._table, record_id)
        for column, value in changes.items():
            setattr(row, column, value)
        self._session.flush()
        return self._to_value(row)

    def columns(self, record_id: str) -> dict[str, object]:
        """What `change` puts back later, of the row, which must be there."""
        row = self._session.get_one(self._table, record_id)
        return {column.key: getattr(row, column.key) for column in inspect(self._table).column_attrs}

    def remove(self, record_id: str) -> bool:
        """False where there is none of this id."""
        row = self._session.get(self._table, record_id)
        if row is None:
            return False
        self._session.delete(row)
        self._session.flush()
        return True

    def _keep(self, row: R) -> V:
        self._session.add(row)
        self._session.flush()
        return self._to_value(row)
