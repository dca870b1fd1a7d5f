"""Resources that are read from what is live: nothing of them is stored."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from portico.api.resource import Call, Resource

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


class LiveResource(Resource[Named[L]]):
    """A resource of what is live."""

    prefix: ClassVar[str]
    """Of its ids."""

    @abstractmethod
    def everything(self, call: Call) -> Iterable[L]:
        """All that is live, whoever's it is."""

    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> Sequence[Named[L]]:
        """In falling order of ids."""
        ids = {
            f"{self.prefix}{one.id}": one for one in self.everything(call) if call.caller.scope in (None, one.owner_id)
        }
        chosen = sorted((ident for ident in ids if before_id is None or ident < before_id), reverse=True)[:limit]
        return [Named(ident, ids[ident]) for ident in chosen]

    def find(self, call: Call, unit: "Unit", ident: str) -> Named[L] | None:
        """The one of this id."""
        for one in self.everything(call):
            if f"{self.prefix}{one.id}" == ident and call.caller.scope in (None, one.owner_id):
                return Named(ident, one)
        return None
