"""RE2's syntax (https://github.com/google/re2/wiki/Syntax), read into a tree."""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, TypeAlias

from portico.translate.policy import regex_classes as classes
from portico.translate.policy.regex_classes import Ranges

MOST_REPEATS: Final = 1000
"""RE2's own bound."""
_DEEPEST: Final = 200
_REPEAT: Final = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{0,9}))?\}")
_FLAGS: Final = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_NAME: Final = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>")
_POSIX: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_UNICODE: Final = re.compile(r"\\([pP])(?:\{(\^?)([A-Za-z_]+)\}|([A-Z]))")
_NUMBER: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]+)\}|(0[0-7]{0,2}|[1-7][0-7]{1,2}))")
_LETTERS: Final = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}


class RegexRefused(ValueError):  # noqa: N818  (it says what happened to the pattern)
    """A pattern that has no program here, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the regular expression {reason}")


class Look(IntEnum):
    """What holds between two characters."""

    TEXT_BEGIN = 1
    TEXT_END = 2
    LINE_BEGIN = 3
    LINE_END = 4
    BOUNDARY = 5
    NO_BOUNDARY = 6


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class AnyByte:
    r"""`\C`."""


@dataclass(frozen=True, slots=True)
class Several:
    """One after the other; nothing at all where there are none."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """The first that fits."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`high` None: any number."""

    part: "Node"
    low: int
    high: int | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """One whose match is kept."""

    part: "Node"
    number: int
    name: str


Node: TypeAlias = Chars | AnyByte | Look | Several | Either | Repeat | Group


@dataclass(frozen=True, slots=True)
class _Flags:
    i: bool = False
    m: bool = False
    s: bool = False
    U: bool = False


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises RegexRefused."""
    reader = _Reader(pattern)
    found = reader.either(0)
    if reader.at < len(pattern):
        raise RegexRefused("has a ) too many")
    return found


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at, self.groups = pattern, 0, 0
        self.names: set[str] = set()
        self.flags = _Flags()

    def _next(self, text: str) -> bool:
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def _match(self, wanted: re.Pattern[str]) -> re.Match[str] | None:
        if found := wanted.match(self.pattern, self.at):
            self.at = found.end()
        return found

    def _take(self) -> str:
        if self.at >= len(self.pattern):
            raise RegexRefused("ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def either(self, depth: int) -> Node:
        """Up to the end or a closing parenthesis."""
        if depth > _DEEPEST:
            raise RegexRefused("is nested too deeply")
        parts = [self._several(depth)]
        while self._next("|"):
            parts.append(self._several(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _several(self, depth: int) -> Node:
        parts: list[Node] = []
        repeatable = False
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            if repeat := self._repeat():
                if not repeatable:
                    raise RegexRefused("repeats what cannot be repeated")
                parts[-1] = Repeat(parts[-1], *repeat)
                repeatable = False
            elif self._next(r"\Q"):
                parts += [self._chars(((ord(letter), ord(letter)),)) for letter in self._quoted()]
                repeatable = bool(parts)
            else:
                found = self._one(depth)
                parts += [] if found is None else [found]
                # RE2 lets an operator behind flags repeat what stands before them.
                repeatable = bool(parts)
        return parts[0] if len(parts) == 1 else Several(tuple(parts))

    def _quoted(self) -> str:
        end = self.pattern.find(r"\E", self.at)
        text = self.pattern[self.at : end if end >= 0 else None]
        self.at = end + 2 if end >= 0 else len(self.pattern)
        return text

    def _repeat(self) -> tuple[int, int | None, bool] | None:
        bounds: tuple[int, int | None]
        if self.pattern[self.at] in "*+?":
            bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self._take()]
        elif found := self._match(_REPEAT):
            low = int(found[1])
            bounds = (low, (int(found[3]) if found[3] else None) if found[2] else low)
            if max(low, bounds[1] or 0) > MOST_REPEATS or low > (MOST_REPEATS if bounds[1] is None else bounds[1]):
                raise RegexRefused("repeats something too often")
        else:
            return None
        return (*bounds, self._next("?") == self.flags.U)

    def _one(self, depth: int) -> Node | None:  # noqa: PLR0911  (one for each kind of item)
        """One item; None for flags, which are nothing by themselves."""
        match letter := self._take():
            case "(":
                self.at -= 1
                return self._group(depth)
            case "[":
                return self._chars(self._class())
            case ".":
                return Chars(classes.ALL if self.flags.s else classes.opposite(classes.NEWLINE))
            case "^":
                return Look.LINE_BEGIN if self.flags.m else Look.TEXT_BEGIN
            case "$":
                return Look.LINE_END if self.flags.m else Look.TEXT_END
            case "\\":
                self.at -= 1
                return self._escape()
        return self._chars(((ord(letter), ord(letter)),))

    def _chars(self, found: Ranges) -> Chars:
        return Chars(classes.both_cases(found) if self.flags.i else found)

    def _group(self, depth: int) -> Node | None:
        before = self.flags
        if flags := self._match(_FLAGS):
            if not flags[1] and not flags[2] and flags[3] == ")":
                raise RegexRefused("has an empty group of flags")
            self.flags = replace(self.flags, **dict.fromkeys(flags[1], True))
            self.flags = replace(self.flags, **dict.fromkeys((flags[2] or "-")[1:], False))
            return None if flags[3] == ")" else self._closed(self.either(depth + 1), before)
        name = ""
        if named := self._match(_NAME):
            name = named[1]
            if name in self.names:
                raise RegexRefused(f"has two groups {name[:40]}")
            self.names.add(name)
        elif self.pattern.startswith("(?", self.at):
            raise RegexRefused("has a kind of group that RE2 does not know")
        else:
            self._take()
        self.groups += 1
        number = self.groups
        return Group(self._closed(self.either(depth + 1), before), number, name)

    def _closed(self, found: Node, flags: _Flags) -> Node:
        if not self._next(")"):
            raise RegexRefused("lacks a )")
        self.flags = flags
        return found

    def _escape(self) -> Node:
        looks = {"A": Look.TEXT_BEGIN, "z": Look.TEXT_END, "b": Look.BOUNDARY, "B": Look.NO_BOUNDARY}
        kind = self.pattern[self.at + 1 : self.at + 2]
        if kind in looks:
            self.at += 2
            return looks[kind]
        if self._next(r"\C"):
            return AnyByte()
        if (found := self._set()) is not None:
            return self._chars(found)
        point = self._point()
        return self._chars(((point, point),))

    def _set(self) -> Ranges | None:
        r"""`\d`, `\pL`, or None."""
        kind = self.pattern[self.at + 1 : self.at + 2]
        if self.pattern[self.at] == "\\" and kind and kind.lower() in classes.PERL:
            self.at += 2
            found = classes.PERL[kind.lower()]
            return self._folded(found, negative=kind.isupper())
        if not (asked := self._match(_UNICODE)):
            return None
        name = asked[3] or asked[4]
        if name not in classes.categories():
            raise RegexRefused(
                f"asks for {name[:40]}; scripts of Unicode are not known here, categories such as Lu are"
            )
        return self._folded(classes.categories()[name], negative=(asked[1] == "P") != bool(asked[2]))

    def _folded(self, found: Ranges, *, negative: bool) -> Ranges:
        found = classes.both_cases(found) if self.flags.i else found
        return classes.opposite(found) if negative else found

    def _point(self) -> int:
        """A character, maybe escaped."""
        if number := self._match(_NUMBER):
            point = int(number[1] or number[2], 16) if number[1] or number[2] else int(number[3], 8)
            if point > 0x10FFFF:
                raise RegexRefused("has a character beyond Unicode")
            return point
        letter = self._take()
        if letter != "\\":
            return ord(letter)
        letter = self._take()
        if letter in _LETTERS:
            return ord(_LETTERS[letter])
        if not letter.isascii() or letter.isalnum() or letter == "_":
            raise RegexRefused(f"has the escape \\{letter}, which RE2 does not know")
        return ord(letter)

    def _class(self) -> Ranges:
        negative = self._next("^")
        found: list[tuple[int, int]] = []
        first = True
        while first or not self._next("]"):
            first = False
            found += self._item()
        return self._folded(classes.ranges(found), negative=negative)

    def _item(self) -> Ranges:
        if posix := self._match(_POSIX):
            if posix[2] not in classes.POSIX:
                raise RegexRefused(f"asks for [:{posix[2][:40]}:], which RE2 does not know")
            return self._folded(classes.POSIX[posix[2]], negative=bool(posix[1]))
        if self.pattern.startswith("\\", self.at) and (found := self._set()) is not None:
            return found
        low = high = self._point()
        if self.pattern.startswith("-", self.at) and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
            self.at += 1
            high = self._point()
        if high < low:
            raise RegexRefused("has a range from its end to its begin")
        return ((low, high),)
