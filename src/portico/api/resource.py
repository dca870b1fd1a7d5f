"""What a resource of the API is: its declaration, and how it is found, made, changed and removed.

The modules of the resources import neither the web framework nor the database, for `portico api` makes its commands of
the same declarations.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from portico.api.ports import Node
from portico.api.shapes import Create, Update, View
from portico.model.errors import API_FIELD_INVALID, API_FORBIDDEN, API_IN_USE, PorticoError
from portico.model.owner import DEFAULT_OWNER, EVERYBODY, Owner, Role, Scope
from portico.store.changes import RecordChange

if TYPE_CHECKING:
    from datetime import datetime

    from portico.store.records import Records
    from portico.store.store import Unit


class Identified(Protocol):
    """Whatever a resource's values are."""

    @property
    def id(self) -> str:
        """Unique among its kind."""


class Kept(Identified, Protocol):
    """What the values of the store have in common."""

    @property
    def owner_id(self) -> str:
        """Whose it is."""

    @property
    def description(self) -> str:
        """What it is for."""

    @property
    def note(self) -> str:
        """The owner's own data."""

    @property
    def created_at(self) -> "datetime":
        """When it was made."""


V = TypeVar("V", bound=Identified)
K = TypeVar("K", bound=Kept)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    owner: Owner
    key_id: str
    api_key: str = field(repr=False)
    user_id: str | None = None
    """None where the key is the owner's own."""
    role: Role = Role.ADMIN

    @property
    def is_operator(self) -> bool:
        """Whether he sees and changes what belongs to others, too."""
        return self.owner.name == DEFAULT_OWNER and self.role is not Role.MEMBER

    @property
    def scope(self) -> Scope:
        """Whose things he sees, and may change where his role lets him."""
        if self.role is Role.MEMBER:
            return Scope(self.owner.id, self.user_id)
        return EVERYBODY if self.is_operator else Scope(self.owner.id)


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    caller: Caller
    node: Node
    base: str
    """`https://api.<domain>[:port]`, as the caller wrote it."""
    operation_id: str
    query: dict[str, list[str]] = field(default_factory=dict)

    def uri(self, *path: str) -> str:
        """Where something is found."""
        return "/".join((self.base, *path))


class Resource(ABC, Generic[V]):
    """A resource that can be listed and got."""

    name: ClassVar[str]
    """Its path, and the field of its lists unless `list_field` says otherwise."""
    list_field: ClassVar[str] = ""
    command_name: ClassVar[str] = ""
    """What `portico api` calls it, where that is not its path."""
    noun: ClassVar[str]
    about: ClassVar[str]
    """One or two sentences for people."""
    view: ClassVar[type[View]]
    filters: ClassVar[tuple[str, ...]] = ()
    """Query parameters of the list, beside those of paging."""
    filter_fields: ClassVar[tuple[str, ...]] = ()
    """Texts beside the fields of the view that `filter=` may name; `filter_values` has them."""
    commands: ClassVar[tuple[str, ...]] = ()
    """What can be done to one of them by `POST /<name>/<id>/<command>`."""

    @abstractmethod
    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> Sequence[V]:
        """At most `limit`, in falling order of their ids, of what the caller may see."""

    @abstractmethod
    def find(self, call: Call, unit: "Unit", ident: str) -> V | None:
        """The one of this id, if the caller may see it."""

    @abstractmethod
    def show(self, call: Call, value: V) -> View:
        """What the API shows of it."""

    def filter_values(self, view: Any, texts: frozenset[str]) -> dict[str, object]:
        """Values for `filter=` that are others than the view's; `texts` are those that the filter compares with."""
        return {}

    @property
    def inner(self) -> "Mapping[str, Resource[Any]]":
        """Lists within one of them, `/<name>/<id>/<list>`, each with the resource of its entries."""
        return {}

    def page_within(self, call: Call, unit: "Unit", parent_id: str, before_id: str | None, limit: int) -> Sequence[V]:
        """As `page`, of those within one that has this one as `inner`."""
        raise NotImplementedError(parent_id)

    async def command(self, call: Call, value: V, command: str) -> None:
        """Do one of `commands`."""
        raise NotImplementedError(command)


class StoredResource(Resource[K]):
    """A resource that is kept in the store, and can be made, changed and removed."""

    create_body: ClassVar[type[Create]]
    update_body: ClassVar[type[Update]] = Update
    may_fail: ClassVar[bool] = False
    """Whether `created` and `updated` may raise: then the change is undone, and changes take effect one by one."""
    detachable: ClassVar[tuple[str, ...]] = ()
    """References that `DELETE /<name>/<id>/<reference>` takes away; the column has `_id` behind the word."""

    @abstractmethod
    def records(self, unit: "Unit") -> "Records[Any, K]":
        """Where it is kept."""

    def prepare(self, call: Call, body: Any) -> None:
        """Check what needs no store, before the transaction begins: it may take its time."""

    @abstractmethod
    def create(self, call: Call, unit: "Unit", owner_id: str, body: Any) -> tuple[K, str]:
        """Make one; the second value is the token that is shown this once, or empty."""

    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> Sequence[K]:
        """Newest first."""
        return self.records(unit).page(call.caller.scope, before_id=before_id, limit=limit)

    def find(self, call: Call, unit: "Unit", ident: str) -> K | None:
        """The one of this id, if the caller may see it."""
        return self.records(unit).find(ident, call.caller.scope)

    def changes(self, call: Call, unit: "Unit", value: K, body: Any) -> dict[str, object]:
        """The columns that an update sets."""
        columns = {"description": body.description, "note": body.metadata}
        return {column: text for column, text in columns.items() if text is not None}

    def remove(self, call: Call, unit: "Unit", value: K) -> None:
        """Remove one. Raises PorticoError(API_IN_USE)."""
        if getattr(value, "source", "") == "settings":
            raise PorticoError(
                API_IN_USE, f"{value.id} is declared in the edge's settings file", fix="Take it out of that file."
            )
        self.records(unit).remove(value.id)

    def change(self, value: K) -> RecordChange:
        """What other nodes are told when one was made, changed or removed."""
        return RecordChange(self.name, value.id, value.owner_id)

    async def created(self, node: Node, value: K) -> None:
        """Let it take effect. Raises PorticoError only where `may_fail`."""

    async def updated(self, node: Node, value: K) -> None:
        """Let the change take effect. Raises PorticoError only where `may_fail`."""

    async def removed(self, node: Node, value: K) -> None:
        """Let its end take effect."""

    def fields(self, call: Call, value: K) -> dict[str, Any]:
        """What every view of the store shows."""
        return {
            "id": value.id,
            "uri": call.uri(self.name, value.id),
            "created_at": value.created_at,
            "description": value.description,
            "metadata": value.note,
            "owner_id": value.owner_id,
        }


def list_field(resource: Resource[Any]) -> str:
    """The field of a list that has its entries."""
    return resource.list_field or resource.name


def owner_of_new(call: Call, unit: "Unit", body: Create) -> str:
    """Whose the new one will be, an owner or a user of his. Raises PorticoError: API_FORBIDDEN, API_FIELD_INVALID."""
    caller, wanted = call.caller, body.owner_id
    unit.act_for(caller.user_id)
    if not wanted or wanted in (caller.owner.id, caller.owner.name, caller.user_id):
        return caller.owner.id
    user = unit.users.find(wanted, caller.scope)
    if user is not None:
        unit.act_for(user.id)
        return user.owner_id
    if not caller.is_operator:
        raise PorticoError(API_FORBIDDEN, "owner_id: you may make things for yourself, and as an admin for your users")
    owner = unit.owners.get(wanted) or unit.owners.find(wanted)
    if owner is None:
        raise PorticoError(API_FIELD_INVALID, f"owner_id: there is no owner or user {wanted!r}")
    unit.act_for(None)
    return owner.id
