"""Keys of session tickets, the same on every node that shares the store, and new every twelve hours without a word.

Each is derived (HKDF, RFC 5869) from the store's secret and the number of its period, so no node has to tell another.
A TLS 1.3 session that is resumed has a fresh key exchange; a TLS 1.2 one is as secret as these keys are.
"""

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portico.store.signing_keys import COOKIES
from portico.store.store import Store

PERIOD_SECONDS: Final = 43_200
_KEY_BYTES: Final = 80
"""Name, HMAC key and AES key, as Envoy and BoringSSL cut them."""


class TicketKeys:
    """The keys that are good at some time."""

    def __init__(self, store: Store) -> None:
        with store.read() as unit:
            secret = unit.signing_keys.find(COOKIES)
        if secret is None:
            raise LookupError("the store has no signing key; the first start makes it")
        self._secret = secret

    def at(self, now: float) -> list[bytes]:
        """The current key, then its neighbours: other nodes' clocks, and tickets of before (`now` is Unix time)."""
        period = int(now // PERIOD_SECONDS)
        return [self._key(number) for number in (period, period - 1, period + 1)]

    def _key(self, period: int) -> bytes:
        info = f"session tickets {period}".encode()
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=info).derive(self._secret)
