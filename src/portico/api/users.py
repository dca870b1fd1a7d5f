"""`/users`: the people of an owner. Portico's own; ngrok's API knows no users that could be made."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, StoredView, Text, Update
from portico.model.errors import API_CONFLICT, PorticoError
from portico.model.owner import Role

if TYPE_CHECKING:
    from portico.store.store import Unit
    from portico.store.users import User, Users

_Name = Annotated[Text, Field(min_length=1, max_length=255)]
_Email = Annotated[
    Text, StringConstraints(to_lower=True, max_length=255, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
]
_RoleName = Literal["admin", "member", "viewer"]
_ROLE = "admin: everything of the owner; member: what he made himself; viewer: looks at everything, changes nothing."


class UserCreate(Create):
    """A new user. Give him an API key or an authtoken by making one with his id as `owner_id`."""

    name: _Name = Field(description="What people call him.")
    email: _Email = Field(description="His address; one owner's users have different ones.")
    role: _RoleName = Field(default="member", description=_ROLE)


class UserUpdate(Update):
    """Changes of a user; they hold from the next request on."""

    name: _Name | None = Field(default=None, description="What people call him.")
    email: _Email | None = Field(default=None, description="His address.")
    role: _RoleName | None = Field(default=None, description=_ROLE)


class UserView(StoredView):
    """A user."""

    name: str
    email: str
    role: str


class UserResource(StoredResource["User"]):
    """Users."""

    name = "users"
    noun = "user"
    about = "People of an owner, each with a role. Who is removed loses his keys and authtokens, and his sessions end."
    view = UserView
    create_body = UserCreate
    update_body = UserUpdate

    def records(self, unit: "Unit") -> "Users":
        """Where users are."""
        return unit.users

    def create(self, call: Call, unit: "Unit", owner_id: str, body: UserCreate) -> "tuple[User, str]":
        """Make one."""
        _check_free(unit, owner_id, body.email)
        role = Role(body.role)
        made = unit.users.add(owner_id, body.name, body.email, role, description=body.description, note=body.metadata)
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "User", body: UserUpdate) -> dict[str, object]:
        """Also name, address and role."""
        if body.email is not None and body.email != value.email:
            _check_free(unit, value.owner_id, body.email)
        given = {"name": body.name, "email": body.email, "role": body.role}
        changes = {column: wanted for column, wanted in given.items() if wanted is not None}
        return {**super().changes(call, unit, value, body), **changes}

    def show(self, call: Call, value: "User") -> UserView:
        """One user."""
        return UserView(**self.fields(call, value), name=value.name, email=value.email, role=value.role)

    async def removed(self, node: Node, value: "User") -> None:
        """His sessions end."""
        for credential_id in value.credential_ids:
            await node.revoked(credential_id)


def _check_free(unit: "Unit", owner_id: str, email: str) -> None:
    if unit.users.with_email(owner_id, email) is not None:
        raise PorticoError(API_CONFLICT, f"email: there is a user with {email} already")
