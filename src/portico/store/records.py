"""What the repositories of owners' things have in common."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portico.model.owner import EVERYBODY, Scope
from portico.store.tables import Record

R = TypeVar("R", bound=Record)
V = TypeVar("V")
ACTING_USER: Final = "portico_user"
"""Key of `Session.info`: id of the user whose new rows will be."""
_BATCH: Final = 500
"""Values of one IN: databases have limits."""


class Records(Generic[R, V]):
    """The rows of one table, within one transaction, as values."""

    def __init__(self, session: Session, table: type[R], kind: str, to_value: Callable[[R], V]) -> None:
        """`kind` begins the ids."""
        self._session = session
        self._table = table
        self._kind = kind
        self._seen_by: InstrumentedAttribute[Any] = table.user_id
        """What has the id of the user who sees a row."""
        self._to_value = to_value

    def page(self, scope: Scope = EVERYBODY, *, before_id: str | None = None, limit: int = 100) -> list[V]:
        """At most `limit`, newest first, of what `scope` sees; those made before `before_id`."""
        query = self._within(scope).order_by(self._table.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(self._table.id < before_id)
        return [self._to_value(row) for row in self._session.scalars(query)]

    def all(self) -> list[V]:
        """All, oldest first."""
        return [self._to_value(row) for row in self._session.scalars(select(self._table).order_by(self._table.id))]

    def within(self, scope: Scope) -> list[V]:
        """All that `scope` sees, oldest first."""
        return [self._to_value(row) for row in self._session.scalars(self._within(scope).order_by(self._table.id))]

    def find(self, record_id: str, scope: Scope = EVERYBODY) -> V | None:
        """The one of this id, if `scope` sees it."""
        row = self._session.scalar(self._within(scope).where(self._table.id == record_id))
        return None if row is None else self._to_value(row)

    def some(self, ids: Iterable[str]) -> list[V]:
        """Those of these ids that are there."""
        wanted = sorted(ids)
        found: list[V] = []
        for first in range(0, len(wanted), _BATCH):
            some = select(self._table).where(self._table.id.in_(wanted[first : first + _BATCH]))
            found += [self._to_value(row) for row in self._session.scalars(some)]
        return found

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

    def _within(self, scope: Scope) -> Select[R]:
        query = select(self._table)
        if scope.owner_id is not None:
            query = query.where(self._table.owner_id == scope.owner_id)
        return query if scope.user_id is None else query.where(self._seen_by == scope.user_id)

    def _keep(self, row: R) -> V:
        row.user_id = self._session.info.get(ACTING_USER)
        self._session.add(row)
        self._session.flush()
        return self._to_value(row)
