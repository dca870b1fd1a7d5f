"""`/api_keys`: what lets programs call this API."""

from typing import TYPE_CHECKING, Any

from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, StoredView
from portico.store.tokens import new_api_key

if TYPE_CHECKING:
    from portico.store.credentials import Credential, Credentials
    from portico.store.store import Unit


class ApiKeyCreate(Create):
    """A new API key."""


class ApiKeyView(StoredView):
    """An API key; the key itself is told once, in the answer to its creation."""

    token: str | None
    user_id: str | None
    """Whose it is among the owner's users; null where it is the owner's own."""


class ApiKeyResource(StoredResource["Credential"]):
    """API keys."""

    name = "api_keys"
    list_field = "keys"
    noun = "API key"
    about = "Keys for this API. Those of the operator see and change everything, those of other owners their own."
    view = ApiKeyView
    create_body = ApiKeyCreate

    def records(self, unit: "Unit") -> "Credentials[Any]":
        """Where API keys are."""
        return unit.api_keys

    def create(self, call: Call, unit: "Unit", owner_id: str, body: ApiKeyCreate) -> "tuple[Credential, str]":
        """Make a key."""
        token = new_api_key()
        made = unit.api_keys.add(owner_id, token, source="api", description=body.description, note=body.metadata)
        return made, token

    def show(self, call: Call, value: "Credential") -> ApiKeyView:
        """Without the key."""
        return ApiKeyView(**self.fields(call, value), token=None, user_id=value.user_id)
