"""A regular expression's tree as a program over the bytes of UTF-8, as Pike's machine runs it.

https://swtch.com/~rsc/regexp/regexp2.html; each instruction knows the one that follows, so trees are compiled from
their ends, and characters whose last bytes are alike share them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from portico.translate.policy.regex_classes import Ranges
from portico.translate.policy.regex_syntax import (
    AnyByte,
    Chars,
    Either,
    Group,
    Look,
    Node,
    RegexRefused,
    Repeat,
    Several,
)

_Sequence: TypeAlias = tuple[tuple[int, int], ...]
_Row: TypeAlias = "tuple[int, int, _Bytes | None]"
MOST_INSTRUCTIONS: Final = 20_000
"""What matching costs for each byte is bounded by it."""

MOST_GROUPS: Final = 200


class Op(IntEnum):
    """Kinds of instructions, numbered as in runtime/regex.lua."""

    BYTE = 1
    """The byte is `a` to `b`: `to`."""
    SPLIT = 2
    """`a`, and if nothing comes of that, `b`."""
    SAVE = 3
    """The position is kept at `a`: `to`."""
    LOOK = 4
    """What `a` (a Look) says holds: `to`."""
    TABLE = 5
    """The byte is within one of the ranges `table`, each with what follows."""
    MATCH = 6


@dataclass(slots=True)
class Instruction:
    """One of them; `to`, `a` and `b` of a SPLIT, and the third of each row are numbers of others."""

    op: Op
    a: int = 0
    b: int = 0
    to: int = 0
    table: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class _Bytes:
    """Ranges of a byte, each with the bytes behind it, or None behind the last one."""

    rows: tuple[_Row, ...]


@dataclass(slots=True)
class Program:
    """Instructions from 0, the first to run, and how many groups there are with which names."""

    instructions: list[Instruction] = field(default_factory=list)
    start: int = 0
    groups: int = 0
    names: dict[str, int] = field(default_factory=dict)


def compiled(tree: Node) -> Program:
    """Raises RegexRefused for a program that would be too large."""
    builder = _Builder()
    builder.program.start = builder.emit(tree, builder.add(Instruction(Op.MATCH)))
    return builder.program


def nullable(node: Node) -> bool:
    """Whether it may match nothing."""
    match node:
        case Chars() | AnyByte():
            return False
        case Look():
            return True
        case Several(parts):
            return all(map(nullable, parts))
        case Either(parts):
            return any(map(nullable, parts))
        case Repeat(part, low, _, _):
            return low == 0 or nullable(part)
        case Group(part, _, _):
            return nullable(part)


class _Builder:
    def __init__(self) -> None:
        self.program = Program()
        self.tails: dict[tuple[_Bytes, int], int] = {}
        self.steps = 0

    def add(self, instruction: Instruction) -> int:
        if len(self.program.instructions) >= MOST_INSTRUCTIONS:
            raise RegexRefused("is too large")
        self.program.instructions.append(instruction)
        return len(self.program.instructions) - 1

    def emit(self, node: Node, then: int) -> int:  # noqa: PLR0911  (one for each kind of node)
        """The number of the instruction that `node` begins with, where `then` follows it."""
        self.steps += 1
        if self.steps > 2 * MOST_INSTRUCTIONS:
            raise RegexRefused("is too large")
        match node:
            case Chars(ranges):
                return self._bytes(_utf8(ranges), then)
            case AnyByte():
                return self.add(Instruction(Op.BYTE, 0, 255, then))
            case Look():
                return self.add(Instruction(Op.LOOK, int(node), 0, then))
            case Several(parts):
                for part in reversed(parts):
                    then = self.emit(part, then)
                return then
            case Either(parts):
                return self._either([self.emit(part, then) for part in parts])
            case Repeat():
                return self._repeat(node, then)
            case Group(part, number, name):
                return self._group(part, number, name, then)

    def _either(self, starts: Sequence[int]) -> int:
        last = starts[-1]
        for start in reversed(starts[:-1]):
            last = self.add(Instruction(Op.SPLIT, start, last))
        return last

    def _group(self, part: Node, number: int, name: str, then: int) -> int:
        if number > MOST_GROUPS:
            raise RegexRefused(f"has more than {MOST_GROUPS} groups")
        self.program.groups = max(self.program.groups, number)
        if name:
            self.program.names[name] = number
        closed = self.add(Instruction(Op.SAVE, 2 * number + 2, 0, then))
        return self.add(Instruction(Op.SAVE, 2 * number + 1, 0, self.emit(part, closed)))

    def _repeat(self, node: Repeat, then: int) -> int:
        """`x{2,4}` is `xx(x(x)?)?`, `x{2,}` is `xx+`."""
        if node.high is None:
            last = self._loop(node, then)[1] if node.low else self._any(node, then)
            required = max(node.low - 1, 0)
        else:
            last, required = then, node.low
            for _ in range(node.high - node.low):
                last = self._maybe(self.emit(node.part, last), then, node.greedy)
        for _ in range(required):
            last = self.emit(node.part, last)
        return last

    def _maybe(self, start: int, then: int, greedy: bool) -> int:
        return self.add(Instruction(Op.SPLIT, *((start, then) if greedy else (then, start))))

    def _loop(self, node: Repeat, then: int) -> tuple[int, int]:
        """The instruction that decides on one more, and the first of the part."""
        loop = self.add(Instruction(Op.SPLIT))
        start = self.emit(node.part, loop)
        split = self.program.instructions[loop]
        split.a, split.b = (start, then) if node.greedy else (then, start)
        return loop, start

    def _any(self, node: Repeat, then: int) -> int:
        loop, start = self._loop(node, then)
        # What may match nothing is tried once before it is left, or `(|a)*` would prefer the wrong one (so does RE2).
        return self._maybe(start, then, node.greedy) if nullable(node.part) else loop

    def _bytes(self, bytes_: _Bytes, then: int) -> int:
        if (bytes_, then) not in self.tails:
            rows = [(low, high, self._bytes(rest, then) if rest else then) for low, high, rest in bytes_.rows]
            only = Instruction(Op.BYTE, *rows[0]) if len(rows) == 1 else Instruction(Op.TABLE, table=tuple(rows))
            self.tails[bytes_, then] = self.add(only)
        return self.tails[bytes_, then]


@lru_cache(64)
def _utf8(ranges: Ranges) -> _Bytes:
    """The bytes of these code points; characters that begin or end alike share them."""
    return _grouped(list(_sequences(ranges)), {})


def _grouped(sequences: list[_Sequence], known: dict[tuple[_Row, ...], _Bytes]) -> _Bytes:
    """By their first byte. Sequences come in order, and ranges of first bytes are equal or apart."""
    rows: list[_Row] = []
    for (low, high), group in groupby(sequences, key=itemgetter(0)):
        rests = [sequence[1:] for sequence in group]
        rows.append((low, high, _grouped(rests, known) if rests[0] else None))
    return known.setdefault(tuple(rows), _Bytes(tuple(rows)))


_LENGTHS: Final = ((0x00, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
"""Code points of one, two, three and four bytes. Halves of surrogate pairs have none."""


def _sequences(ranges: Ranges) -> Iterator[_Sequence]:
    """Sequences of byte ranges that are the UTF-8 of these code points, in order."""
    for low, high in ranges:
        for first, last in _LENGTHS:
            if low <= last and high >= first:
                yield from _split(chr(max(low, first)).encode(), chr(min(high, last)).encode())


def _split(low: bytes, high: bytes) -> Iterator[_Sequence]:
    """The same between two encodings of equal length."""
    if len(low) == 1:
        yield ((low[0], high[0]),)
        return
    rest = len(low) - 1
    if low[0] == high[0]:
        yield from (((low[0], low[0]), *row) for row in _split(low[1:], high[1:]))
        return
    first, last = low[0], high[0]
    if low[1:] != b"\x80" * rest:
        yield from (((first, first), *row) for row in _split(low[1:], b"\xbf" * rest))
        first += 1
    whole_end = high[1:] == b"\xbf" * rest
    if first <= (last if whole_end else last - 1):
        yield ((first, last if whole_end else last - 1), *(((0x80, 0xBF),) * rest))
    if not whole_end:
        yield from (((last, last), *row) for row in _split(b"\x80" * rest, high[1:]))
