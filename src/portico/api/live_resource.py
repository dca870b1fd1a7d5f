"""Resources that are read from what is live: nothing of them is stored."""

import heapq
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from portico.api.resource import Call, Identified, Resource

if TYPE_CHECKING:
    from portico.store.store import Unit


class Owned(Protocol):
    """What is live and somebody's."""

    @property
    def id(self) -> str:
        """Its id inside the node."""

    @property
    def owner_id(self) -> str:
        """Whose it is."""

    @property
    def credential_id(self) -> str:
        """By which its agent came in; empty where no agent did."""


L = TypeVar("L", bound=Owned)


@dataclass(frozen=True, slots=True)
class Named(Generic[L]):
    """Something live under the id that the API gives it."""

    id: str
    live: L


One = TypeVar("One", bound=Identified)


def seen(call: Call, unit: "Unit", live: Iterable[L]) -> Iterator[L]:
    """Of what is live, what the caller sees: a member what came by a credential of his."""
    scope = call.caller.scope
    user = unit.users.find(scope.user_id) if scope.user_id else None
    for one in live:
        if scope.owner_id in (None, one.owner_id) and (user is None or one.credential_id in user.credential_ids):
            yield one


def newest_first(values: Iterable[One], before_id: str | None, limit: int) -> list[One]:
    """A page of what is at hand: at most `limit`, in falling order of ids."""
    earlier = (value for value in values if before_id is None or value.id < before_id)
    return heapq.nlargest(limit, earlier, key=lambda value: value.id)


class LiveResource(Resource[Named[L]]):
    """A resource of what is live."""

    prefix: ClassVar[str]
    """Of its ids."""

    @abstractmethod
    def everything(self, call: Call) -> Iterable[L]:
        """All that is live, whoever's it is."""

    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> Sequence[Named[L]]:
        """In falling order of ids."""
        mine = seen(call, unit, self.everything(call))
        return newest_first((Named(f"{self.prefix}{one.id}", one) for one in mine), before_id, limit)

    def find(self, call: Call, unit: "Unit", ident: str) -> Named[L] | None:
        """The one of this id."""
        mine = seen(call, unit, self.everything(call))
        return next((Named(ident, one) for one in mine if f"{self.prefix}{one.id}" == ident), None)
