"""Time zones of timestamps' accessors: `getHours('Europe/Berlin')`.

LuaJIT has no database of them, so what a name means is written into the program: every change from 1990 to 2060.
"""

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from portico.translate.policy.lua import literal
from portico.translate.policy.pieces import NotInLuaError, Piece

_FIXED: Final = re.compile(r"(?:UTC)?|[+-]?\d{1,2}:\d\d", re.ASCII)
_FIRST, _LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(days=14)
"""No zone has changed twice within so little time and back."""


def zone(name: str) -> Piece:
    """The zone as the runtime takes it. Raises NotInLuaError for one that is not known here."""
    if _FIXED.fullmatch(name):
        return Piece(literal(name), "string", constant=name)
    key, source = literal(f"zone {name}"), literal(_table(name))
    return Piece(f"(P.known[{key}] or P.learn({key}, {source}))", "string")


@lru_cache(64)
def _table(name: str) -> str:
    try:
        info = zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise NotInLuaError(f"there is no time zone {name[:60]}") from None
    since, offsets = zip(*_changes(info), strict=True)
    return literal({"before": offsets[0], "since": since[1:], "offsets": offsets[1:]})


def _changes(info: zoneinfo.ZoneInfo) -> Iterator[tuple[int, int]]:
    """Moments (seconds since 1970) and the seconds that the zone adds to UTC from then on."""
    at, offset = _FIRST, _offset(info, _FIRST)
    yield 0, offset
    while at < _LAST:
        following = at + _STEP
        if (changed := _offset(info, following)) != offset:
            low, high = 0, int(_STEP.total_seconds())
            while low + 1 < high:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(info, at + timedelta(seconds=middle)) == offset else (low, middle)
            yield int((at + timedelta(seconds=high)).timestamp()), changed
            offset = changed
        at = following


def _offset(info: zoneinfo.ZoneInfo, moment: datetime) -> int:
    found = moment.astimezone(info).utcoffset()
    assert found is not None
    return int(found.total_seconds())
