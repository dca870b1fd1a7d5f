"""The audit log: every change that was made through the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from portico.model.owner import Scope
from portico.store.tables import AuditEventRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what, when."""

    id: str
    created_at: datetime
    owner_id: str
    user_id: str | None
    """None where a key of the owner himself did it."""
    api_key_id: str
    operation_id: str
    """What the answer to the caller and the log call this request."""
    action: str
    resource: str
    resource_id: str
    fields: tuple[str, ...]
    """Names of what was set; never values."""


class AuditLog:
    """The log, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        *,
        owner_id: str,
        user_id: str | None,
        api_key_id: str,
        operation_id: str,
        action: str,
        resource: str,
        resource_id: str,
        fields: Sequence[str],
    ) -> AuditEvent:
        """Write one line."""
        row = AuditEventRow(
            id=new_id("audit"),
            owner_id=owner_id,
            user_id=user_id,
            api_key_id=api_key_id,
            operation_id=operation_id,
            action=action,
            resource=resource,
            resource_id=resource_id,
            fields=list(fields),
        )
        self._session.add(row)
        self._session.flush()
        return _to_event(row)

    def take_back(self, operation_id: str) -> None:
        """Forget a change that was undone before anybody was told of it."""
        self._session.execute(delete(AuditEventRow).where(AuditEventRow.operation_id == operation_id))

    def page(self, scope: Scope, *, before_id: str | None = None, limit: int = 100) -> list[AuditEvent]:
        """At most `limit`, newest first, of what `scope` sees; those made before `before_id`."""
        query = _within(scope).order_by(AuditEventRow.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(AuditEventRow.id < before_id)
        return [_to_event(row) for row in self._session.scalars(query)]

    def find(self, event_id: str, scope: Scope) -> AuditEvent | None:
        """The one of this id, if `scope` sees it."""
        row = self._session.scalar(_within(scope).where(AuditEventRow.id == event_id))
        return None if row is None else _to_event(row)


def _within(scope: Scope) -> Select[AuditEventRow]:
    query = select(AuditEventRow)
    if scope.owner_id is not None:
        query = query.where(AuditEventRow.owner_id == scope.owner_id)
    return query if scope.user_id is None else query.where(AuditEventRow.user_id == scope.user_id)


def _to_event(row: AuditEventRow) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        created_at=row.created_at,
        owner_id=row.owner_id,
        user_id=row.user_id,
        api_key_id=row.api_key_id,
        operation_id=row.operation_id,
        action=row.action,
        resource=row.resource,
        resource_id=row.resource_id,
        fields=tuple(row.fields),
    )
