"""Answers to creates, kept for a day for callers who ask again because they did not hear the first answer.

An answer may hold a token, which the store must not know. So it is sealed with a key made of what only the caller
sends: the API key and the Idempotency-Key, of which the store has digests alone.
"""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete
from sqlalchemy.orm import Session

from portico.model.errors import API_KEY_REUSED, PorticoError
from portico.store.tables import IdempotencyRow, utc_now

KEPT: Final = timedelta(days=1)
_NONCE: Final = 12


class Answers:
    """The kept answers, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, api_key_id: str, api_key: str, key: str, request: bytes) -> bytes | None:
        """The answer that this caller got under `key`. Raises PorticoError(API_KEY_REUSED) for another request."""
        self._session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < utc_now() - KEPT))
        row = self._session.get(IdempotencyRow, (api_key_id, _digest(key)))
        if row is None:
            return None
        if row.request != _fingerprint(api_key, key, request):
            raise PorticoError(API_KEY_REUSED, "this Idempotency-Key came with another request before")
        return AESGCM(_secret(api_key, key)).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], None)

    def add(self, api_key_id: str, api_key: str, key: str, request: bytes, answer: bytes) -> None:
        """Keep an answer."""
        nonce = secrets.token_bytes(_NONCE)
        self._session.add(
            IdempotencyRow(
                api_key_id=api_key_id,
                digest=_digest(key),
                request=_fingerprint(api_key, key, request),
                sealed=nonce + AESGCM(_secret(api_key, key)).encrypt(nonce, answer, None),
            )
        )
        self._session.flush()

    def take_back(self, api_key_id: str, key: str) -> None:
        """Forget the answer to a create that was undone."""
        row = self._session.get(IdempotencyRow, (api_key_id, _digest(key)))
        if row is not None:
            self._session.delete(row)
            self._session.flush()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _fingerprint(api_key: str, key: str, request: bytes) -> bytes:
    # A plain digest would let somebody with the database try what a request may have had in it.
    return hmac.new(_secret(api_key, key), request, hashlib.sha256).digest()


def _secret(api_key: str, key: str) -> bytes:
    return hmac.new(api_key.encode(), b"portico idempotency\n" + key.encode(), hashlib.sha256).digest()
