"""Secret keys that the edge signs with, e.g. session cookies."""

import secrets
from typing import Final

from sqlalchemy.orm import Session

from portico.store.tables import SigningKeyRow

COOKIES: Final = "cookies"
"""Signs what agents and browsers bring back."""
VAULT_KEY: Final = "vault.key"
"""What the key of vaults makes of a text that is known, by which nodes see that they have the same key."""
_LENGTH: Final = 32


class SigningKeys:
    """The signing keys, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, purpose: str) -> bytes | None:
        """The key for this purpose: 32 bytes."""
        row = self._session.get(SigningKeyRow, purpose)
        return None if row is None else row.secret

    def add(self, purpose: str, secret: bytes | None = None) -> bytes:
        """Keep the key for this purpose, by default a new one; there must be none yet."""
        secret = secret or secrets.token_bytes(_LENGTH)
        self._session.add(SigningKeyRow(purpose=purpose, secret=secret))
        self._session.flush()
        return secret
