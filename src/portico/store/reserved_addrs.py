"""Reserved TCP ports in the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from portico.store.records import Records
from portico.store.tables import ReservedAddrRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class ReservedAddr:
    """A TCP port that one owner alone may use."""

    id: str
    owner_id: str
    port: int
    description: str
    note: str
    created_at: datetime


class ReservedAddrs(Records[ReservedAddrRow, ReservedAddr]):
    """The reserved ports, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, ReservedAddrRow, "ra", _to_addr)

    def add(self, owner_id: str, port: int, *, description: str = "", note: str = "") -> ReservedAddr:
        """Reserve a port that is free."""
        return self._keep(
            ReservedAddrRow(id=new_id(self._kind), owner_id=owner_id, port=port, description=description, note=note)
        )


def _to_addr(row: ReservedAddrRow) -> ReservedAddr:
    return ReservedAddr(row.id, row.owner_id, row.port, row.description, row.note, row.created_at)
