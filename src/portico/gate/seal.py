"""Texts that only the edge can read and write: AES-GCM, under keys that no two sign-ins share.

A key is derived (HKDF, RFC 5869) from one of the edge's secrets and from all that a session is bound to, so what was
sealed for one endpoint, provider or application opens for no other. A new secret seals from then on; what older ones
have sealed opens as long as they are kept.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portico.model.errors import EDGE_BUSY, PorticoError

_NONCE: Final = 12
_SHORTEST: Final = _NONCE + 16


class Seal:
    """Seals for one binding. A random nonce is good for 2^32 texts a key (NIST SP 800-38D, 8.3)."""

    def __init__(self, edge_secrets: Sequence[bytes], binding: Sequence[str]) -> None:
        info = json.dumps(["portico gate", *binding]).encode()
        self._keys = [AESGCM(_derived(secret, info)) for secret in edge_secrets]

    def seal(self, purpose: str, data: bytes) -> str:
        """`data` as a text of letters, digits, `-` and `_`, which opens for this purpose alone."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._keys[0].encrypt(nonce, data, purpose.encode())
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, purpose: str, text: str) -> bytes | None:
        """What was sealed, or None for anything else."""
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(sealed) < _SHORTEST:
            return None
        for key in self._keys:
            try:
                return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
            except InvalidTag:
                continue
        return None


class EdgeSecrets:
    """The edge's secrets, from a file that control writes: hexadecimal, one a line, the sealing one first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._known: tuple[bytes, ...] = ()

    def known(self) -> tuple[bytes, ...]:
        """All of them, read anew when the file has changed. Raises PorticoError while control has not written it."""
        try:
            state = self._path.stat()
            if (state.st_mtime_ns, state.st_ino) != self._seen:
                self._known = tuple(bytes.fromhex(line) for line in self._path.read_text().split())
                self._seen = (state.st_mtime_ns, state.st_ino)
        except OSError as error:
            raise PorticoError(EDGE_BUSY, "control has not told the gate its secrets yet") from error
        if not self._known:
            raise PorticoError(EDGE_BUSY, "control has not told the gate its secrets yet")
        return self._known


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret)
