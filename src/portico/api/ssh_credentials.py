"""`/ssh_credentials`: public keys that may open SSH sessions."""

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Annotated

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import Field

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, Rules, StoredView, Text, Update
from portico.model.acl import Acl
from portico.model.errors import API_CONFLICT, SSH_KEY_INVALID, PorticoError

if TYPE_CHECKING:
    from portico.store.credentials import SshCredential, SshCredentials
    from portico.store.store import Unit

_MIN_RSA_BITS = 2_048


class SshCredentialCreate(Create):
    """A new SSH key."""

    public_key: Annotated[Text, Field(max_length=16_384)] = Field(
        description="The public key, one line as in `~/.ssh/id_ed25519.pub`."
    )
    acl: Rules = Field(default_factory=list)


class SshCredentialUpdate(Update):
    """Changes of an SSH key."""

    acl: Rules | None = None


class SshCredentialView(StoredView):
    """An SSH key."""

    public_key: str
    acl: list[str]


class SshCredentialResource(StoredResource["SshCredential"]):
    """SSH keys."""

    name = "ssh_credentials"
    noun = "SSH credential"
    about = "Public keys, by which `ssh -R` connects. An ACL limits what they may bind."
    view = SshCredentialView
    create_body = SshCredentialCreate
    update_body = SshCredentialUpdate

    def records(self, unit: "Unit") -> "SshCredentials":
        """Where SSH keys are."""
        return unit.ssh_credentials

    def create(self, call: Call, unit: "Unit", owner_id: str, body: SshCredentialCreate) -> "tuple[SshCredential, str]":
        """Keep a key."""
        acl, (line, fingerprint) = Acl.of(body.acl), read_public_key(body.public_key)
        if unit.ssh_credentials.holder_of(fingerprint) is not None:
            raise PorticoError(API_CONFLICT, f"public_key: {fingerprint} is registered already")
        made = unit.ssh_credentials.add(
            owner_id, line, fingerprint, acl=acl.rules, description=body.description, note=body.metadata
        )
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "SshCredential", body: SshCredentialUpdate) -> dict[str, object]:
        """Also the ACL."""
        rules = {} if body.acl is None else {"acl": list(Acl.of(body.acl).rules)}
        return {**super().changes(call, unit, value, body), **rules}

    def show(self, call: Call, value: "SshCredential") -> SshCredentialView:
        """With the public key."""
        return SshCredentialView(**self.fields(call, value), public_key=value.public_key, acl=list(value.acl.rules))

    async def updated(self, node: Node, value: "SshCredential") -> None:
        """Sessions get the new rules."""
        await node.acl_changed(value.id, value.acl)

    async def removed(self, node: Node, value: "SshCredential") -> None:
        """Sessions end."""
        await node.revoked(value.id)


def read_public_key(text: str) -> tuple[str, str]:
    """The line `type base64` of a public key, and its fingerprint. Raises PorticoError(SSH_KEY_INVALID)."""
    words = text.split()
    if "PRIVATE KEY" in text:
        raise PorticoError(
            SSH_KEY_INVALID, "public_key: this is a private key; keep it to yourself, and make a new one"
        )
    if len(words) < 2 or "-cert-" in words[0] or "\n" in text.strip():
        raise PorticoError(SSH_KEY_INVALID, "public_key: it is not one line of type and key")
    line = f"{words[0]} {words[1]}"
    try:
        key = load_ssh_public_key(line.encode())
        blob = base64.b64decode(words[1], validate=True)
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise PorticoError(SSH_KEY_INVALID, "public_key: the key cannot be read") from None
    if isinstance(key, DSAPublicKey) or (isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS):
        raise PorticoError(
            SSH_KEY_INVALID,
            "public_key: a key of this type is too weak",
            fix="Use ed25519, ECDSA, or RSA of 2048 bits.",
        )
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return line, f"SHA256:{digest}"
