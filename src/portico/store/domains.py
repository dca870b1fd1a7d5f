"""Reserved domains in the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portico.model.errors import DOMAIN_RESERVED, PorticoError
from portico.model.names import candidates, normalize_host
from portico.store.records import Records
from portico.store.tables import DomainRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class Domain:
    """A host name, or wildcard, that one owner alone may use."""

    id: str
    owner_id: str
    name: str
    created_at: datetime
    source: str
    description: str = ""
    note: str = ""
    certificate_id: str | None = None
    """The uploaded certificate that it is to be served with; None means the best one there is."""


class Domains(Records[DomainRow, Domain]):
    """The reserved domains, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, DomainRow, "rd", _to_domain)

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

    def using(self, certificate_id: str) -> list[Domain]:
        """The domains that are served with this certificate, by name."""
        query = select(DomainRow).where(DomainRow.certificate_id == certificate_id).order_by(DomainRow.name)
        return [_to_domain(row) for row in self._session.scalars(query)]

    def add(
        self,
        owner_id: str,
        name: str,
        *,
        source: str,
        description: str = "",
        note: str = "",
        certificate_id: str | None = None,
    ) -> Domain:
        """Reserve a name. Raises PorticoError(URL_INVALID), or DOMAIN_RESERVED where it is reserved already."""
        host = normalize_host(name)
        if self._session.scalar(select(DomainRow.id).where(DomainRow.name == host)) is not None:
            raise PorticoError(DOMAIN_RESERVED, f"{host} is reserved already")
        row = DomainRow(id=new_id(self._kind), owner_id=owner_id, name=host, source=source)
        row.description, row.note, row.certificate_id = description, note, certificate_id
        return self._keep(row)


def _to_domain(row: DomainRow) -> Domain:
    return Domain(
        id=row.id,
        owner_id=row.owner_id,
        name=row.name,
        created_at=row.created_at,
        source=row.source,
        description=row.description or "",
        note=row.note or "",
        certificate_id=row.certificate_id,
    )
