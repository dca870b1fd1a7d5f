"""Who may hold a session: authtokens, and the cookie by which a returning agent proves that it is the same one."""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from portico.model.acl import Acl
from portico.model.errors import (
    AGENT_TOO_OLD,
    AUTHTOKEN_MALFORMED,
    AUTHTOKEN_UNKNOWN,
    DATABASE_UNUSABLE,
    EDGE_BUSY,
    SSH_CREDENTIAL_UNKNOWN,
    PorticoError,
)
from portico.model.owner import Owner
from portico.store.credentials import Credential
from portico.store.signing_keys import COOKIES
from portico.store.store import Store

PROTOCOL_VERSIONS: Final = ("3", "2")
PATIENCE_SECONDS: Final = 12.0
"""For a database that is away; relays wait for 20 seconds."""
_RETRY_SECONDS: Final = 0.5
_MAX_TOKEN: Final = 512
_T = TypeVar("_T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An agent that may come in."""

    owner: Owner
    credential: Credential
    version: str
    client_id: str
    """The agent's own where its cookie proves it, else a new one."""
    cookie: str
    returning: bool


class Admission:
    """Checks agents against the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.read() as unit:
            key = unit.signing_keys.find(COOKIES)
        if key is None:
            raise LookupError("the store has no signing key; the first start makes it")
        self._key = key

    def admit(self, authtoken: str, versions: list[str], client_id: str, cookie: str) -> Admitted:
        """Raises PorticoError: AUTHTOKEN_MALFORMED, AUTHTOKEN_UNKNOWN or AGENT_TOO_OLD."""
        version = next((version for version in PROTOCOL_VERSIONS if version in versions), None)
        if version is None:
            raise PorticoError(
                AGENT_TOO_OLD, f"this edge speaks versions {', '.join(PROTOCOL_VERSIONS)} of the protocol"
            )
        owner, credential = self._holder_of(authtoken)
        returning = bool(client_id) and hmac.compare_digest(self._cookie(client_id, owner).encode(), cookie.encode())
        known = client_id if returning else secrets.token_hex(16)
        return Admitted(owner, credential, version, known, self._cookie(known, owner), returning)

    async def once_reachable(self, look: Callable[[], _T]) -> _T:
        """What `look`, one of the others, says; a database that is away, as while it starts anew, is awaited.

        Raises PorticoError as `look` does, and EDGE_BUSY where it stays away.
        """
        give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return look()  # in the event loop: nothing can be revoked between this and what follows from it
            except PorticoError as error:
                if error.code is not DATABASE_UNUSABLE:
                    raise
                if asyncio.get_running_loop().time() > give_up:
                    log.error("an agent cannot be looked up", extra={"reason": error.message})
                    raise for_agents(error) from None
            await asyncio.sleep(_RETRY_SECONDS)

    def admit_ssh(self, fingerprint: str, authtoken: str) -> tuple[Owner, str, Acl]:
        """Whose key (or else whose token) it is, the credential's id, and its rules.

        Raises PorticoError: SSH_CREDENTIAL_UNKNOWN, AUTHTOKEN_MALFORMED or AUTHTOKEN_UNKNOWN.
        """
        if not fingerprint:
            owner, token = self._holder_of(authtoken)
            return owner, token.id, token.acl
        with self._store.read() as unit:
            holder = unit.ssh_credentials.holder_of(fingerprint)
        if holder is None:
            raise PorticoError(SSH_CREDENTIAL_UNKNOWN, f"the key {fingerprint} is not registered at this edge")
        owner, key = holder
        return owner, key.id, key.acl

    def _holder_of(self, authtoken: str) -> tuple[Owner, Credential]:
        if not authtoken or len(authtoken) > _MAX_TOKEN or not authtoken.isprintable():
            raise PorticoError(AUTHTOKEN_MALFORMED, "the authtoken is empty or malformed")
        with self._store.read() as unit:
            holder = unit.authtokens.holder_of(authtoken)
        if holder is None:
            raise PorticoError(AUTHTOKEN_UNKNOWN, "the authtoken is not known to this edge")
        return holder

    def _cookie(self, client_id: str, owner: Owner) -> str:
        text = f"{client_id}\n{owner.id}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def for_agents(error: PorticoError) -> PorticoError:
    """What an agent is told: where the edge's database is, is none of its business."""
    if error.code is not DATABASE_UNUSABLE:
        return error
    return PorticoError(EDGE_BUSY, "the edge cannot use its database now")
