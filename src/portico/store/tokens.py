"""Tokens and ids: how they are made, and what the store keeps of a token.

A token of ours has 190 random bits, so its plain SHA-256 can be neither guessed nor looked up in tables; a slow hash
would only slow down agents. Finding a token means finding its digest in an index: how long that takes tells
nothing about the token, since nobody can choose digests.
"""

import hashlib
import secrets
import time
from typing import Final

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE32: Final = "0123456789abcdefghijklmnopqrstuv"
"""Its text sorts like its numbers under every collation of every database."""
_TOKEN_LENGTH: Final = 32
_ID_LENGTH: Final = 30
_ID_RANDOM_BITS: Final = 5 * _ID_LENGTH - 48
"""What 48 bits of milliseconds leave: 102."""


def new_authtoken() -> str:
    """A token for agents: `pt_` and 32 characters."""
    return "pt_" + _random(_TOKEN_LENGTH)


def new_api_key() -> str:
    """A key for the API: `pak_` and 32 characters."""
    return "pak_" + _random(_TOKEN_LENGTH)


def new_id(kind: str) -> str:
    """An id such as `rd_…`: the kind and 30 characters, which sort by the time at which they were made."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << _ID_RANDOM_BITS) | secrets.randbits(_ID_RANDOM_BITS)
    digits = (_BASE32[(number >> shift) & 31] for shift in range(5 * (_ID_LENGTH - 1), -1, -5))
    return f"{kind}_{''.join(digits)}"


def digest(token: str) -> bytes:
    """What the store keeps: SHA-256 of the token's UTF-8 text (lone surrogates, which no token has, included)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def shown_prefix(token: str) -> str:
    """What lists show of a token: at most 8 characters, and never more than a quarter of it."""
    return token[: min(8, len(token) // 4)]


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))
