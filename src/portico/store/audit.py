"""The audit log: every change that was made through the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portico.store.tables import AuditEventRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what, when."""

    id: str
    created_at: datetime
    owner_id: str
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

    def page(self, *, owner_id: str | None = None, before_id: str | None = None, limit: int = 100) -> list[AuditEvent]:
        """At most `limit`, newest first, of one owner or of all; those made before `before_id`."""
        query = select(AuditEventRow).order_by(AuditEventRow.id.desc()).limit(limit)
        if owner_id is not None:
            query = query.where(AuditEventRow.owner_id == owner_id)
        if before_id is not None:
            query = query.where(AuditEventRow.id < before_id)
        return [_to_event(row) for row in self._session.scalars(query)]

    def find(self, event_id: str, *, owner_id: str | None = None) -> AuditEvent | None:
        """The one of this id, if it is that owner's."""
        row = self._session.get(AuditEventRow, event_id)
        return None if row is None or owner_id not in (None, row.owner_id) else _to_event(row)


def _to_event(row: AuditEventRow) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        created_at=row.created_at,
        owner_id=row.owner_id,
        api_key_id=row.api_key_id,
        operation_id=row.operation_id,
        action=row.action,
        resource=row.resource,
        resource_id=row.resource_id,
        fields=tuple(row.fields),
    )
