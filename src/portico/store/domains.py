"""Reserved domains in the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portico.model.errors import DOMAIN_RESERVED, PorticoError
from portico.model.names import candidates, normalize_host
from portico.store.tables import DomainRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class Domain:
    """A host name, or wildcard, that one owner alone may use."""

    id: str
    owner_id: str
    name: str
    created_at: datetime


class Domains:
    """The reserved domains, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Domain]:
        """All, by name."""
        return [_to_domain(row) for row in self._session.scalars(select(DomainRow).order_by(DomainRow.name))]

    def reservation_of(self, host: str) -> Domain | None:
        """The reservation that `host` (normalized; a wildcard too) falls under, the most specific one.

        One index lookup, below a millisecond: may be called in the event loop.
        """
        names = candidates(host)
        rows = {row.name: row for row in self._session.scalars(select(DomainRow).where(DomainRow.name.in_(names)))}
        return next((_to_domain(rows[name]) for name in names if name in rows), None)

    def add(self, owner_id: str, name: str, *, source: str) -> Domain:
        """Reserve a name. Raises PorticoError(URL_INVALID), or DOMAIN_RESERVED where it is reserved already."""
        host = normalize_host(name)
        if self._session.scalar(select(DomainRow.id).where(DomainRow.name == host)) is not None:
            raise PorticoError(DOMAIN_RESERVED, f"{host} is reserved already")
        row = DomainRow(id=new_id("rd"), owner_id=owner_id, name=host, source=source)
        self._session.add(row)
        self._session.flush()
        return _to_domain(row)

    def remove(self, domain_id: str) -> bool:
        """Give the name free; False where there is none of this id."""
        row = self._session.get(DomainRow, domain_id)
        if row is None:
            return False
        self._session.delete(row)
        self._session.flush()
        return True


def _to_domain(row: DomainRow) -> Domain:
    return Domain(row.id, row.owner_id, row.name, row.created_at)
