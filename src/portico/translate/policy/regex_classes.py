"""Sets of characters as ranges of code points: those that RE2 names, their opposites, and both cases of letters."""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import chain
from typing import Final, TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""First and last code points, in order, neither touching nor overlapping."""
ALL: Final[Ranges] = ((0, 0x10FFFF),)
NEWLINE: Final[Ranges] = ((10, 10),)
_UNASSIGNED: Final = 0x40000
"""From here to the tags and the private planes Unicode has no characters. Looking only below is five times as quick."""
_TAGS: Final = (0xE0000, 0xE0200)
_PRIVATE_PLANES: Final = ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
_CASELESS: Final = 0x20000
"""From here there are ideographs, which have no case."""
_DOTLESS: Final = frozenset("ıİ")
"""Python has their other case among `i`, Unicode's simple case folding, which RE2 goes by, has not."""


def ranges(found: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges in order and joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def opposite(known: Ranges) -> Ranges:
    """All that is not in it."""
    edges = [-1, *(edge for low, high in known for edge in (low, high)), 0x110000]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((before + 1, after - 1) for before, after in pairs if before + 1 < after)


def _of(text: str) -> Ranges:
    """`a-z_` as ranges: pairs around a hyphen, and letters alone."""
    found, at = [], 0
    while at < len(text):
        last = at + 2 if text[at + 1 : at + 2] == "-" and at + 2 < len(text) else at
        found.append((ord(text[at]), ord(text[last])))
        at = last + 1
    return ranges(found)


PERL: Final[Mapping[str, Ranges]] = {"d": _of("0-9"), "s": _of("\t\n\f\r "), "w": _of("0-9A-Za-z_")}
POSIX: Final[Mapping[str, Ranges]] = {
    "alnum": _of("0-9A-Za-z"),
    "alpha": _of("A-Za-z"),
    "ascii": _of("\x00-\x7f"),
    "blank": _of("\t "),
    "cntrl": _of("\x00-\x1f\x7f"),
    "digit": _of("0-9"),
    "graph": _of("!-~"),
    "lower": _of("a-z"),
    "print": _of(" -~"),
    "punct": _of("!-/:-@[-`{-~"),
    "space": _of("\t-\r "),
    "upper": _of("A-Z"),
    "word": _of("0-9A-Za-z_"),
    "xdigit": _of("0-9A-Fa-f"),
}


@cache
def categories() -> Mapping[str, Ranges]:
    """General categories of Unicode by name (`Lu`), and each group of them (`L`)."""
    found: dict[str, list[tuple[int, int]]] = {"Co": []}
    for point in chain(range(_UNASSIGNED), range(*_TAGS)):
        category = unicodedata.category(chr(point))
        if category != "Cn":
            rows = found.setdefault(category, [])
            if rows and rows[-1][1] == point - 1:
                rows[-1] = (rows[-1][0], point)
            else:
                rows.append((point, point))
    found["Co"] += _PRIVATE_PLANES
    exact = {name: tuple(rows) for name, rows in found.items()}
    groups = {
        name[0]: ranges(row for other, rows in exact.items() if other[0] == name[0] for row in rows) for name in exact
    }
    return {**exact, **groups, "Any": ALL}


@cache
def _cases() -> Mapping[int, frozenset[int]]:
    """Letters with the others that differ from them by case alone."""
    orbits: dict[int, set[int]] = {}
    for point in range(_CASELESS):
        letter = chr(point)
        if letter in _DOTLESS:
            continue
        for other in (letter.lower(), letter.upper()):
            if other != letter and len(other) == 1 and other not in _DOTLESS:
                joined = orbits.get(point, {point}) | orbits.get(ord(other), {ord(other)})
                for member in joined:
                    orbits[member] = joined
    return {point: frozenset(orbit) for point, orbit in orbits.items()}


@lru_cache(256)
def both_cases(known: Ranges) -> Ranges:
    """The set with every letter's other cases."""
    cases = _cases()
    size = sum(high - low + 1 for low, high in known)
    within = (
        (point for low, high in known for point in range(low, high + 1) if point in cases)
        if size < len(cases)
        else (point for point in cases if any(low <= point <= high for low, high in known))
    )
    return ranges([*known, *((other, other) for point in within for other in cases[point])])
