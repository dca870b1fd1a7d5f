"""Vaults, and the secrets in them, in the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portico.store.records import Records
from portico.store.sealing import Sealer
from portico.store.tables import SecretRow, VaultRow, utc_now
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class Vault:
    """A place for secrets."""

    id: str
    owner_id: str
    name: str
    description: str
    note: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of a secret; its value is read by `Secrets.value` alone."""

    id: str
    owner_id: str
    vault_id: str
    vault_name: str
    name: str
    description: str
    note: str
    created_at: datetime
    updated_at: datetime


class Vaults(Records[VaultRow, Vault]):
    """The vaults, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, VaultRow, "vault", _to_vault)

    def named(self, owner_id: str, name: str) -> Vault | None:
        """The owner's vault of this name."""
        row = self._session.scalar(select(VaultRow).where(VaultRow.owner_id == owner_id, VaultRow.name == name))
        return None if row is None else _to_vault(row)

    def add(self, owner_id: str, name: str, *, description: str = "", note: str = "") -> Vault:
        """A new vault; the owner has none of this name."""
        row = VaultRow(id=new_id(self._kind), owner_id=owner_id, name=name, description=description, note=note)
        row.created_at = row.updated_at = utc_now()
        return self._keep(row)


class Secrets(Records[SecretRow, Secret]):
    """The secrets of all vaults, within one transaction."""

    def __init__(self, session: Session, sealer: Sealer) -> None:
        super().__init__(session, SecretRow, "secret", self._to_secret)
        self._sealer = sealer

    def value(self, owner_id: str, vault: str, name: str) -> str | None:
        """The value of an owner's secret, for policies that he wrote. Raises PorticoError(STORE_UNUSABLE)."""
        query = select(SecretRow).join(VaultRow, SecretRow.vault_id == VaultRow.id)
        row = self._session.scalar(
            query.where(VaultRow.owner_id == owner_id, VaultRow.name == vault, SecretRow.name == name)
        )
        return None if row is None else self._sealer.open(row.id, row.sealed)

    def seal(self, secret_id: str, value: str) -> bytes:
        """What the column `sealed` has for a value."""
        return self._sealer.seal(secret_id, value)

    def named(self, vault_id: str, name: str) -> Secret | None:
        """The secret of this name in a vault."""
        row = self._session.scalar(select(SecretRow).where(SecretRow.vault_id == vault_id, SecretRow.name == name))
        return None if row is None else self._to_secret(row)

    def of_vault(self, vault_id: str) -> list[Secret]:
        """All of one vault."""
        rows = self._session.scalars(select(SecretRow).where(SecretRow.vault_id == vault_id))
        return [self._to_secret(row) for row in rows]

    def add(self, vault: Vault, name: str, value: str, *, description: str = "", note: str = "") -> Secret:
        """Keep a secret under a name that is free in its vault. Raises PorticoError(STORE_UNUSABLE)."""
        row = SecretRow(id=new_id(self._kind), owner_id=vault.owner_id, description=description, note=note)
        row.vault_id, row.name, row.sealed = vault.id, name, self.seal(row.id, value)
        row.created_at = row.updated_at = utc_now()
        return self._keep(row)

    def _to_secret(self, row: SecretRow) -> Secret:
        return Secret(
            id=row.id,
            owner_id=row.owner_id,
            vault_id=row.vault_id,
            vault_name=self._session.get_one(VaultRow, row.vault_id).name,
            name=row.name,
            description=row.description,
            note=row.note,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _to_vault(row: VaultRow) -> Vault:
    return Vault(row.id, row.owner_id, row.name, row.description, row.note, row.created_at, row.updated_at)
