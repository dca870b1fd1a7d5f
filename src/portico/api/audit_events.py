"""`/audit_events`: every change that was made through this API. Portico's own; ngrok sends such events elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from portico.api.resource import Call, Resource
from portico.api.shapes import View

if TYPE_CHECKING:
    from portico.store.audit import AuditEvent
    from portico.store.store import Unit


class AuditEventView(View):
    """Who did what, when; the names of the fields that were set, never their values."""

    created_at: datetime
    owner_id: str
    user_id: str | None
    api_key_id: str
    operation_id: str
    action: str
    resource: str
    resource_id: str
    fields_set: list[str]


class AuditEventResource(Resource["AuditEvent"]):
    """The audit log."""

    name = "audit_events"
    noun = "audit event"
    about = "Every change that was made through this API, newest first."
    view = AuditEventView

    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> "Sequence[AuditEvent]":
        """Newest first."""
        return unit.audit.page(call.caller.scope, before_id=before_id, limit=limit)

    def find(self, call: Call, unit: "Unit", ident: str) -> "AuditEvent | None":
        """One event."""
        return unit.audit.find(ident, call.caller.scope)

    def show(self, call: Call, value: "AuditEvent") -> AuditEventView:
        """One event."""
        return AuditEventView(
            id=value.id,
            uri=call.uri(self.name, value.id),
            created_at=value.created_at,
            owner_id=value.owner_id,
            user_id=value.user_id,
            api_key_id=value.api_key_id,
            operation_id=value.operation_id,
            action=value.action,
            resource=value.resource,
            resource_id=value.resource_id,
            fields_set=list(value.fields),
        )
