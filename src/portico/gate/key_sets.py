"""Sets of public keys (JWKS, RFC 7517), fetched from their URLs and kept.

A set is fetched anew after a quarter of an hour, and when none of its keys has signed a token, but then at most every
ten seconds. While its source fails, what was known serves for six hours.
"""

import asyncio
import json
import logging
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

from portico.gate.outbound import Outbound, OutboundError

log = logging.getLogger(__name__)
Key: TypeAlias = RSAKey | ECKey | OKPKey | OctKey

FRESH_SECONDS: Final = 900.0
STALE_SECONDS: Final = 21_600.0
AGAIN_SECONDS: Final = 10.0
"""Least time between two attempts at one source."""
MOST_KEYS: Final = 100
MOST_SETS: Final = 1_000


class KeysUnavailableError(Exception):
    """A source of keys does not give them; the text says why."""


@dataclass(slots=True)
class _Kept:
    keys: tuple[Key, ...] = ()
    fetched: float | None = None
    tried: float | None = None
    reason: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """All of them, by URL."""

    def __init__(self, outbound: Outbound, clock: Callable[[], float] = time.time) -> None:
        self._outbound = outbound
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def keys(self, url: str, kid: str | None, *, again: bool = False) -> tuple[Key, ...]:
        """Those of this id and those without any, or all where a token names none. Raises KeysUnavailableError.

        `again`: those that were given before have not signed the token, so the source may have new ones.
        """
        kept = self._entry(url)
        async with kept.turn:
            if (again or self._old(kept, FRESH_SECONDS)) and self._may_try(kept):
                await self._fetch(url, kept)
            if self._old(kept, STALE_SECONDS):
                raise KeysUnavailableError(kept.reason)
            return tuple(key for key in kept.keys if kid is None or key.kid in (kid, None))

    def _entry(self, url: str) -> _Kept:
        kept = self._kept.pop(url, None) or _Kept()
        self._kept[url] = kept
        if len(self._kept) > MOST_SETS:
            self._kept.popitem(last=False)
        return kept

    def _old(self, kept: _Kept, seconds: float) -> bool:
        return kept.fetched is None or self._clock() >= kept.fetched + seconds

    def _may_try(self, kept: _Kept) -> bool:
        return kept.tried is None or self._clock() >= kept.tried + AGAIN_SECONDS

    async def _fetch(self, url: str, kept: _Kept) -> None:
        kept.tried = self._clock()
        try:
            answer = await self._outbound.send("GET", url, headers={"accept": "application/json"}, redirects=3)
            kept.keys, kept.fetched = read_keys(answer.body, answer.status), self._clock()
        except (OutboundError, ValueError) as error:
            kept.reason = str(error)
            log.warning("a key set cannot be fetched", extra={"url": url, "reason": kept.reason})


def read_keys(body: bytes, status: int = 200) -> tuple[Key, ...]:
    """The keys of a set that this edge understands. Raises ValueError for what is no set."""
    if status != 200:
        raise ValueError(f"the answer has status {status}")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the answer is no key set (RFC 7517)")  # noqa: TRY004  (what the caller gathers)
    if len(entries) > MOST_KEYS:
        raise ValueError(f"the key set has more than {MOST_KEYS} keys")
    return tuple(key for entry in entries for key in _key(entry))


def _key(entry: Any) -> list[Key]:
    """One key, or none: a set may hold kinds that are not known here (RFC 7517, 5)."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return []
    with warnings.catch_warnings():
        # The library warns of keys that are too weak; `tokens.py` does not take them.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return [import_key(entry)]
        except (JoseError, ValueError, TypeError, KeyError):
            return []
