"""How secrets are kept: sealed with a key that is a file of its own, `<data-dir>/vault.key`, beside the database.

Nodes that share a database have the same key, which the first of them makes: the database has a fingerprint of it.

Who has the database alone, such as a copy or a backup of it, has no secret; who has the whole data directory, or is the
edge's user, has all. A seal holds for one id only, so that rows cannot be exchanged.
"""

import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portico.atomic_file import PRIVATE, write_atomically
from portico.model.errors import STORE_UNUSABLE, PorticoError

KEY_FILE: Final = "vault.key"
_FIX: Final = f"Restore {KEY_FILE} from the backup, or set the secrets anew."
_SHARED_FIX: Final = f"Copy {KEY_FILE} from the data directory of a node that is there already."
_PURPOSE: Final = b"portico: nodes with the same vault.key"
_BITS: Final = 256
_NONCE: Final = 12


class Sealer:
    """Seals and opens with the edge's key, which the first secret makes, or the first node."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / KEY_FILE
        self._cipher: AESGCM | None = None

    def seal(self, ident: str, text: str) -> bytes:
        """`text`, for nobody but `open` with the same `ident`. Raises PorticoError(STORE_UNUSABLE)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._key(make=True).encrypt(nonce, text.encode(), ident.encode())

    def open(self, ident: str, sealed: bytes) -> str:
        """What was sealed. Raises PorticoError(STORE_UNUSABLE) where the key is another one or lost."""
        try:
            return self._key(make=False).decrypt(sealed[:_NONCE], sealed[_NONCE:], ident.encode()).decode()
        except InvalidTag:
            raise _unusable(f"{ident} was sealed with another key than {self._path}") from None

    def check_shared(self, known: bytes | None) -> bytes:
        """The fingerprint of our key, which must be `known`, or the first. Raises PorticoError(STORE_UNUSABLE)."""
        try:
            key = self._read(make=known is None)
        except PorticoError as error:
            raise _unusable(error.message, fix=_SHARED_FIX) from None
        mine = hmac.digest(key, _PURPOSE, "sha256")
        if known is not None and not hmac.compare_digest(mine, known):
            raise _unusable(f"{self._path} is not the key of the nodes that share this database", fix=_SHARED_FIX)
        return mine

    def _key(self, *, make: bool) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._read(make=make))
        return self._cipher

    def _read(self, *, make: bool) -> bytes:
        try:
            if make and not self._path.exists():
                write_atomically(self._path, AESGCM.generate_key(_BITS).hex() + "\n", mode=PRIVATE)
            return bytes.fromhex(self._path.read_text("ascii"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no key"
            raise _unusable(f"{self._path}: {reason}") from None


def _unusable(message: str, fix: str = _FIX) -> PorticoError:
    return PorticoError(STORE_UNUSABLE, message, fix=fix)
