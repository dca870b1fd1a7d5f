"""`/credentials`: authtokens, and what their agents may bind."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, Rules, StoredView, Update
from portico.model.acl import Acl
from portico.store.tokens import new_authtoken

if TYPE_CHECKING:
    from portico.store.credentials import Credential, Credentials
    from portico.store.store import Unit


class CredentialCreate(Create):
    """A new authtoken."""

    acl: Rules = Field(default_factory=list)


class CredentialUpdate(Update):
    """Changes of an authtoken. Sessions that are open are held to new rules at their next bind."""

    acl: Rules | None = None


class CredentialView(StoredView):
    """An authtoken; the token itself is told once, in the answer to its creation."""

    token: str | None
    acl: list[str]
    user_id: str | None
    """Whose it is among the owner's users; null where it is the owner's own."""


class CredentialResource(StoredResource["Credential"]):
    """Authtokens."""

    name = "credentials"
    noun = "credential"
    about = "Authtokens, by which agents connect. An ACL limits what they may bind."
    view = CredentialView
    create_body = CredentialCreate
    update_body = CredentialUpdate

    def records(self, unit: "Unit") -> "Credentials[Any]":
        """Where authtokens are."""
        return unit.authtokens

    def create(self, call: Call, unit: "Unit", owner_id: str, body: CredentialCreate) -> "tuple[Credential, str]":
        """Make a token."""
        acl, token = Acl.of(body.acl), new_authtoken()
        made = unit.authtokens.add(owner_id, token, source="api", description=body.description, note=body.metadata)
        return unit.authtokens.change(made.id, acl=list(acl.rules)), token

    def changes(self, call: Call, unit: "Unit", value: "Credential", body: CredentialUpdate) -> dict[str, object]:
        """Also the ACL."""
        rules = {} if body.acl is None else {"acl": list(Acl.of(body.acl).rules)}
        return {**super().changes(call, unit, value, body), **rules}

    def show(self, call: Call, value: "Credential") -> CredentialView:
        """Without the token."""
        return CredentialView(**self.fields(call, value), token=None, acl=list(value.acl.rules), user_id=value.user_id)

    async def updated(self, node: Node, value: "Credential") -> None:
        """Sessions get the new rules."""
        await node.acl_changed(value.id, value.acl)

    async def removed(self, node: Node, value: "Credential") -> None:
        """Sessions end."""
        await node.revoked(value.id)
