"""Resources that are read from what is live: nothing of them is stored."""

import heapq
from abc import abstractmethod
from collections.abc import Iterable, Sequence
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


L = TypeVar("L", bound=Owned)


@dataclass(frozen=True, slots=True)
class Named(Generic[L]):
    """Something live under the id that the API gives it."""

    id: str
    live: L


One = TypeVar("One", bound=Identified)


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
        mine = (one for one in self.everything(call) if call.caller.scope in (None, one.owner_id))
        return newest_first((Named(f"{self.prefix}{one.id}", one) for one in mine), before_id, limit)

    def find(self, call: Call, unit: "Unit", ident: str) -> Named[L] | None:
        """The one of this id."""
        for one in self.everything(call):
            if f"{self.prefix}{one.id}" == ident and call.caller.scope in (None, one.owner_id):
                return Named(ident, one)
        return None
