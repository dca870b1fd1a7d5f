"""`/vaults` and `/vault_secrets`: what policies read by `secrets.get("vault", "secret")`. Values go in, never out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from portico.api.live_resource import newest_first
from portico.api.ports import Node
from portico.api.resource import Call, Resource, StoredResource
from portico.api.shapes import Create, Ref, StoredView, Text, Update
from portico.model.errors import API_CONFLICT, API_FIELD_INVALID, API_IN_USE, PorticoError

if TYPE_CHECKING:
    from portico.store.store import Unit
    from portico.store.vaults import Secret, Secrets, Vault, Vaults

READER: Final = "secrets.get"
"""What a policy that reads secrets has in its text."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that cannot be printed")
    return text


Name = Annotated[Text, Field(min_length=1, max_length=255), AfterValidator(_printable)]
Value = Annotated[Text, Field(min_length=1, max_length=8_192)]
_Reference = Annotated[Text, Field(max_length=255)]


class VaultCreate(Create):
    """A new vault."""

    name: Name = Field(description="What policies call it; one owner's vaults have different names.")


class VaultUpdate(Update):
    """Changes of a vault."""

    name: Name | None = Field(default=None, description="What policies call it.")


class VaultView(StoredView):
    """A vault."""

    updated_at: datetime
    name: str
    created_by: str
    last_updated_by: str


class SecretCreate(Create):
    """A new secret, in a vault that is named by its id or its name."""

    name: Name = Field(description="What policies call it; the secrets of a vault have different names.")
    value: Value = Field(repr=False, description="The secret itself; no answer ever has it.")
    vault_id: _Reference = Field(default="", description="The vault's id.")
    vault_name: _Reference = Field(default="", description="The vault's name, in place of its id.")


class SecretUpdate(Update):
    """Changes of a secret; policies that read it follow."""

    name: Name | None = Field(default=None, description="What policies call it.")
    value: Value | None = Field(default=None, repr=False, description="The secret itself; no answer ever has it.")


class SecretView(StoredView):
    """A secret, without its value."""

    updated_at: datetime
    name: str
    created_by: Ref
    last_updated_by: Ref
    vault: Ref
    vault_name: str


class SecretResource(StoredResource["Secret"]):
    """Secrets."""

    name = "vault_secrets"
    list_field = "secrets"
    command_name = "secrets"
    noun = "secret"
    about = "What traffic policies read by secrets.get; encrypted where they are kept, and never shown."
    view = SecretView
    create_body = SecretCreate
    update_body = SecretUpdate

    def records(self, unit: "Unit") -> "Secrets":
        """Where secrets are."""
        return unit.secrets

    def create(self, call: Call, unit: "Unit", owner_id: str, body: SecretCreate) -> "tuple[Secret, str]":
        """Keep it in its vault, whose owner it has."""
        vault = _vault(call, unit, owner_id, body)
        if unit.secrets.named(vault.id, body.name) is not None:
            raise PorticoError(API_CONFLICT, f"name: the vault has a secret {body.name!r} already")
        made = unit.secrets.add(vault, body.name, body.value, description=body.description, note=body.metadata)
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "Secret", body: SecretUpdate) -> dict[str, object]:
        """Also the name and the value."""
        changes = {**super().changes(call, unit, value, body), "updated_at": datetime.now(UTC)}
        if body.name is not None and body.name != value.name:
            if unit.secrets.named(value.vault_id, body.name) is not None:
                raise PorticoError(API_CONFLICT, f"name: the vault has a secret {body.name!r} already")
            changes["name"] = body.name
        if body.value is not None:
            changes["sealed"] = unit.secrets.seal(value.id, body.value)
        return changes

    def show(self, call: Call, value: "Secret") -> SecretView:
        """Without its value."""
        who = Ref(id=value.owner_id, uri="")
        return SecretView(
            **self.fields(call, value),
            updated_at=value.updated_at,
            name=value.name,
            created_by=who,
            last_updated_by=who,
            vault=Ref(id=value.vault_id, uri=call.uri("vaults", value.vault_id)),
            vault_name=value.vault_name,
        )

    def page_within(
        self, call: Call, unit: "Unit", parent_id: str, before_id: str | None, limit: int
    ) -> "Sequence[Secret]":
        """Those of one vault."""
        return newest_first(unit.secrets.of_vault(parent_id), before_id, limit)

    async def created(self, node: Node, value: "Secret") -> None:
        """Policies may have waited for it."""
        await node.policy_data_changed(value.owner_id, READER)

    async def updated(self, node: Node, value: "Secret") -> None:
        """Policies follow."""
        await node.policy_data_changed(value.owner_id, READER)

    async def removed(self, node: Node, value: "Secret") -> None:
        """Policies follow."""
        await node.policy_data_changed(value.owner_id, READER)


class VaultResource(StoredResource["Vault"]):
    """Vaults."""

    name = "vaults"
    noun = "vault"
    about = "Places for secrets."
    view = VaultView
    create_body = VaultCreate
    update_body = VaultUpdate

    @property
    def inner(self) -> dict[str, Resource["Secret"]]:
        """`/vaults/{id}/secrets`."""
        return {"secrets": SecretResource()}

    def records(self, unit: "Unit") -> "Vaults":
        """Where vaults are."""
        return unit.vaults

    def create(self, call: Call, unit: "Unit", owner_id: str, body: VaultCreate) -> "tuple[Vault, str]":
        """Make an empty one."""
        _check_free(unit, owner_id, body.name)
        return unit.vaults.add(owner_id, body.name, description=body.description, note=body.metadata), ""

    def changes(self, call: Call, unit: "Unit", value: "Vault", body: VaultUpdate) -> dict[str, object]:
        """Also the name."""
        changes = {**super().changes(call, unit, value, body), "updated_at": datetime.now(UTC)}
        if body.name is not None and body.name != value.name:
            _check_free(unit, value.owner_id, body.name)
            changes["name"] = body.name
        return changes

    def remove(self, call: Call, unit: "Unit", value: "Vault") -> None:
        """Remove an empty one. Raises PorticoError(API_IN_USE)."""
        if secrets := unit.secrets.of_vault(value.id):
            raise PorticoError(
                API_IN_USE, f"the vault still has secrets ({len(secrets)})", fix="Remove its secrets first."
            )
        super().remove(call, unit, value)

    def show(self, call: Call, value: "Vault") -> VaultView:
        """One vault."""
        return VaultView(
            **self.fields(call, value),
            updated_at=value.updated_at,
            name=value.name,
            created_by=value.owner_id,
            last_updated_by=value.owner_id,
        )

    async def updated(self, node: Node, value: "Vault") -> None:
        """Policies may have read from it under its old name, or wait for the new one."""
        await node.policy_data_changed(value.owner_id, READER)


def _vault(call: Call, unit: "Unit", owner_id: str, body: SecretCreate) -> "Vault":
    if bool(body.vault_id) == bool(body.vault_name):
        raise PorticoError(API_FIELD_INVALID, "vault_id: give the vault's id, or its name as vault_name")
    if body.vault_id:
        vault = unit.vaults.find(body.vault_id, call.caller.scope)
    else:
        named = unit.vaults.named(owner_id, body.vault_name)
        vault = unit.vaults.find(named.id, call.caller.scope) if named else None
    if vault is None:
        raise PorticoError(API_FIELD_INVALID, "vault_id, vault_name: there is no such vault")
    return vault


def _check_free(unit: "Unit", owner_id: str, name: str) -> None:
    if unit.vaults.named(owner_id, name) is not None:
        raise PorticoError(API_CONFLICT, f"name: there is a vault {name!r} already")
