"""RE2's regular expressions for the Lua library: read and compiled here, run in runtime/regex.lua in linear time.

Scripts of Unicode (`\\p{Greek}`) are refused; categories follow Python's version of Unicode.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from portico.translate.policy.lua import LuaValue, literal
from portico.translate.policy.regex_program import Instruction, Op, Program, compiled
from portico.translate.policy.regex_syntax import Chars, Either, Group, Look, Node, RegexRefused, Repeat, Several, parse

__all__ = ["RegexRefused", "lua_program"]

_Table: TypeAlias = tuple[tuple[int, int, int], ...]
_LINES: Final = (Look.LINE_BEGIN, Look.LINE_END)
_WORDS: Final = (Look.BOUNDARY, Look.NO_BOUNDARY)


def lua_program(pattern: str) -> str:
    """A Lua expression that makes the program of a pattern. Raises RegexRefused."""
    tree = parse(pattern)
    if (text := _text(tree)) is not None:
        return f"P.regex.literal({literal(text)})"
    program = compiled(tree)
    classes = _classes(program)
    tables = list(dict.fromkeys(one.table for one in program.instructions if one.op is Op.TABLE))
    numbers = {table: number for number, table in enumerate(tables, 1)}
    fields: dict[str, LuaValue] = {
        "code": [number for one in program.instructions for number in _code(one, numbers)],
        "tables": [[number for row in table for number in (*row[:2], _place(row[2]))] for table in tables],
        "start": _place(program.start),
        "groups": program.groups,
        "names": program.names,
        "anchored": _anchored(tree),
        "prefix": _prefix(tree) or None,
        "first": _first(program),
        "classes": bytes(classes),
        "samples": [classes.index(number) for number in range(max(classes) + 1)],
        "lines": _looks(program, _LINES),
        "words": _looks(program, _WORDS),
    }
    return f"P.regex.program({literal({name: value for name, value in fields.items() if value is not None})})"


def _place(number: int) -> int:
    """Where an instruction stands in the list of numbers, four each, from 1."""
    return 4 * number + 1


def _code(one: Instruction, tables: Mapping[_Table, int]) -> tuple[int, int, int, int]:
    match one.op:
        case Op.SPLIT:
            return one.op.value, _place(one.a), _place(one.b), 0
        case Op.TABLE:
            return one.op.value, tables[one.table], 0, 0
        case Op.MATCH:
            return one.op.value, 0, 0, 0
    return one.op.value, one.a, one.b, _place(one.to)


def _text(tree: Node) -> str | None:
    """The text that is all that the tree matches, if that is so."""
    parts = tree.parts if isinstance(tree, Several) else (tree,)
    letters = [_letter(part) for part in parts]
    return "".join(letters) if letters and all(letters) else None


def _letter(node: Node) -> str:
    match node:
        case Chars(((low, high),)) if low == high and not 0xD800 <= low <= 0xDFFF:
            return chr(low)
    return ""


def _prefix(tree: Node) -> str:
    """What every match begins with."""
    found = ""
    for part in tree.parts if isinstance(tree, Several) else ():
        if not (letter := _letter(part)):
            break
        found += letter
    return found


def _anchored(tree: Node) -> bool:
    """Whether nothing matches but at the begin of the text."""
    match tree:
        case Look.TEXT_BEGIN:
            return True
        case Several((first, *_)):
            return _anchored(first)
        case Either(parts):
            return all(map(_anchored, parts))
        case Group(part, _, _):
            return _anchored(part)
        case Repeat(part, low, _, _):
            return low > 0 and _anchored(part)
    return False


def _looks(program: Program, wanted: tuple[Look, ...]) -> bool:
    return any(one.op is Op.LOOK and one.a in wanted for one in program.instructions)


def _rows(program: Program) -> Iterator[tuple[int, int]]:
    for one in program.instructions:
        if one.op is Op.BYTE:
            yield one.a, one.b
        for low, high, _ in one.table:
            yield low, high


def _classes(program: Program) -> list[int]:
    """For each byte the number of its class: the program treats all bytes of a class alike."""
    edges = {0, 0x80, 0xC0}
    rows = list(_rows(program))
    if _looks(program, _LINES):
        rows.append((10, 10))
    if _looks(program, _WORDS):
        rows += [(48, 57), (65, 90), (95, 95), (97, 122)]
    edges |= {edge for low, high in rows for edge in (low, high + 1)}
    found, number = [], -1
    for byte in range(256):
        number += byte in edges
        found.append(number)
    return found


def _first(program: Program) -> bytes | None:
    """The bytes that a match may begin with, as a pattern of Lua; None for half of all, and where it may be empty."""
    seen: set[int] = set()
    found: set[int] = set()
    open_ones = [program.start]
    while open_ones:
        number = open_ones.pop()
        if number in seen:
            continue
        seen.add(number)
        one = program.instructions[number]
        match one.op:
            case Op.MATCH:
                return None
            case Op.SPLIT:
                open_ones += [one.a, one.b]
            case Op.SAVE | Op.LOOK:
                open_ones.append(one.to)
            case Op.BYTE:
                found.update(range(one.a, one.b + 1))
            case Op.TABLE:
                found.update(byte for low, high, _ in one.table for byte in range(low, high + 1))
    return b"[" + b"".join(map(_in_pattern, sorted(found))) + b"]" if 0 < len(found) < 128 else None


def _in_pattern(byte: int) -> bytes:
    if byte == 0:
        return b"%z"
    letter = bytes([byte])
    return letter if letter.isalnum() or byte >= 0x80 else b"%" + letter
