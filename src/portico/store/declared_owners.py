"""Makes the store say what the settings file says about owners."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portico.model.errors import SETTING_INVALID, PorticoError
from portico.model.owner import DeclaredOwner
from portico.store.changes import SETTINGS_APPLIED, RecordChange
from portico.store.store import Store, Unit
from portico.store.tables import FIRST_START, SETTINGS, AuthtokenRow, DomainRow, OwnerRow
from portico.store.tokens import digest


def apply_owners(store: Store, declared: Sequence[DeclaredOwner]) -> None:
    """Make or update the declared owners and remove what an earlier file declared and this one does not; idempotent.

    What came from elsewhere stays: an owner of the first start or of the API keeps his other tokens and domains.
    Raises PorticoError(SETTING_INVALID) where a token or domain belongs to somebody else; then nothing is changed.
    """
    with store.write() as unit:
        before = _declared_ids(unit.session)
        _withdraw(unit.session, declared)
        for owner in declared:
            _declare(unit, owner)
        if _declared_ids(unit.session) != before:
            unit.tell(RecordChange(SETTINGS_APPLIED, "", ""))


def _declared_ids(session: Session) -> set[str]:
    tables = (OwnerRow, AuthtokenRow, DomainRow)
    return {ident for table in tables for ident in session.scalars(select(table.id).where(table.source == SETTINGS))}


def _withdraw(session: Session, declared: Sequence[DeclaredOwner]) -> None:
    """Remove the file's rows that are declared no longer. All before any is made, so that a domain can change hands."""
    owners = {owner.name: owner for owner in declared}
    for row in session.scalars(select(OwnerRow)).all():
        owner = owners.get(row.name)
        if owner is None and row.source == SETTINGS:
            session.delete(row)
            continue
        keep = [digest(owner.authtoken)] if owner is not None and owner.authtoken is not None else []
        session.execute(
            delete(AuthtokenRow).where(
                AuthtokenRow.owner_id == row.id, AuthtokenRow.source == SETTINGS, AuthtokenRow.digest.not_in(keep)
            )
        )
        session.execute(
            delete(DomainRow).where(
                DomainRow.owner_id == row.id,
                DomainRow.source == SETTINGS,
                DomainRow.name.not_in(owner.domains if owner is not None else ()),
            )
        )
        if owner is not None:
            row.max_sessions, row.max_endpoints = owner.max_sessions, owner.max_endpoints
        elif row.source == FIRST_START:
            row.max_sessions = row.max_endpoints = None  # only the settings file limits this owner
    session.flush()


def _declare(unit: Unit, declared: DeclaredOwner) -> None:
    owner = unit.owners.find(declared.name) or unit.owners.add(
        declared.name,
        source=SETTINGS,
        max_sessions=declared.max_sessions,
        max_endpoints=declared.max_endpoints,
    )
    if declared.authtoken is not None:
        holder = unit.authtokens.owner_of(declared.authtoken)
        if holder is None:
            unit.authtokens.add(owner.id, declared.authtoken, source=SETTINGS, description="from the settings file")
        elif holder.id != owner.id:
            raise PorticoError(
                SETTING_INVALID, f"the authtoken of owner {owner.name!r} belongs to owner {holder.name!r} already"
            )
    holders = {domain.name: domain.owner_id for domain in unit.domains.all()}
    for name in declared.domains:
        if holders.get(name, owner.id) != owner.id:
            raise PorticoError(SETTING_INVALID, f"domain {name!r} of owner {owner.name!r} belongs to somebody else")
        if name not in holders:
            unit.domains.add(owner.id, name, source=SETTINGS)
