"""The tree of a CEL expression, from the `cel.expr.CheckedExpr` that the compiler hands out.

It is read from protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) here, field by field as
https://github.com/google/cel-spec/tree/master/proto/cel/expr numbers them: the base installation has no protobuf
library, and what is needed of it is this page.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

Constant = None | bool | int | float | str | bytes


class Unsigned(int):
    """CEL's `5u`, which is another type than `5`."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant as it was written."""

    id: int
    value: Constant


@dataclass(frozen=True, slots=True)
class Name:
    """A variable by its whole name (`req.url.path`), or one that a macro such as `exists` binds."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; with `test` it is `has(operand.field)`."""

    id: int
    operand: "Tree"
    field: str
    test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator (`_==_`, `_&&_`, `_[_]`, `@in`, `_?_:_` …); `target` is what a method is called on."""

    id: int
    function: str
    arguments: tuple["Tree", ...]
    target: "Tree | None" = None


@dataclass(frozen=True, slots=True)
class Items:
    """`[a, b]`."""

    id: int
    items: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """`{a: b}`, or a message where `message` names one; a key of a message is a Literal."""

    id: int
    entries: tuple[tuple["Tree", "Tree"], ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """What `all`, `exists`, `exists_one`, `map` and `filter` become (cel.expr.Expr.Comprehension)."""

    id: int
    variable: str
    range: "Tree"
    accumulator: str
    start: "Tree"
    condition: "Tree"
    step: "Tree"
    result: "Tree"


Tree = Literal | Name | Select | Call | Items | Entries | Loop


@dataclass(frozen=True, slots=True)
class Syntax:
    """A tree and where each node stands in the text, in characters from its begin."""

    tree: Tree
    positions: dict[int, int] = field(repr=False)
    types: dict[int, str] = field(repr=False, default_factory=dict)
    """What the checker found each node to be, in CEL's words: `int`, `list<string>`, `dyn`."""

    def walk(self) -> Iterator[Tree]:
        """Every node, the outermost first."""
        waiting: list[Tree] = [self.tree]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(below(node))


def below(node: Tree) -> tuple[Tree, ...]:
    """The nodes directly below."""
    match node:
        case Select():
            return (node.operand,)
        case Call():
            return (*((node.target,) if node.target else ()), *node.arguments)
        case Items():
            return node.items
        case Entries():
            return tuple(part for entry in node.entries for part in entry)
        case Loop():
            return (node.range, node.start, node.condition, node.step, node.result)
        case _:
            return ()


def read(serialized: bytes) -> Syntax:
    """The tree in a serialized `google.protobuf.Any` of a CheckedExpr. The compiler bounds how deep it is."""
    checked = _fields(_bytes(_fields(serialized), 2))
    source = _fields(_bytes(checked, 5))
    positions = {_int(entry, 1): _int(entry, 2) for entry in map(_fields, _all(source, 4))}
    types = {_int(entry, 1): _type(_bytes(entry, 2)) for entry in map(_fields, _all(checked, 3))}
    return Syntax(_tree(_bytes(checked, 4)), positions, types)


_Value = int | bytes
_Fields = dict[int, list[_Value]]
_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}


def _fields(data: bytes) -> _Fields:
    found: _Fields = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value: _Value
        if kind == _VARINT:
            value, at = _varint(data, at)
        else:
            size, at = (_FIXED[kind], at) if kind in _FIXED else _varint(data, at)
            value, at = data[at : at + size], at + size
        found.setdefault(number, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _all(fields: _Fields, number: int) -> list[bytes]:
    return [value for value in fields.get(number, []) if isinstance(value, bytes)]


def _bytes(fields: _Fields, number: int) -> bytes:
    found = _all(fields, number)
    return found[-1] if found else b""


def _text(fields: _Fields, number: int) -> str:
    return _bytes(fields, number).decode()


def _int(fields: _Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    assert isinstance(value, int)
    return value - (1 << 64) if value >= 1 << 63 else value


_Reader = Callable[[int, _Fields], "Tree"]


def _tree(data: bytes) -> Tree:
    fields = _fields(data)
    number, kind = _int(fields, 2), next((one for one in _READERS if one in fields), 3)
    return _READERS[kind](number, _fields(_bytes(fields, kind)))


def _select(number: int, inner: _Fields) -> Tree:
    return Select(number, _tree(_bytes(inner, 1)), _text(inner, 2), bool(_int(inner, 3)))


def _call(number: int, inner: _Fields) -> Tree:
    target = _tree(_bytes(inner, 1)) if 1 in inner else None
    return Call(number, _text(inner, 2), tuple(map(_tree, _all(inner, 3))), target)


def _loop(number: int, inner: _Fields) -> Tree:
    range_, start, condition, step, result = (_tree(_bytes(inner, one)) for one in (2, 4, 5, 6, 7))
    return Loop(number, _text(inner, 1), range_, _text(inner, 3), start, condition, step, result)


_READERS: Final[dict[int, _Reader]] = {
    3: lambda number, inner: Literal(number, _constant(inner)),
    4: lambda number, inner: Name(number, _text(inner, 1).removeprefix(".")),
    5: _select,
    6: _call,
    7: lambda number, inner: Items(number, tuple(map(_tree, _all(inner, 1)))),
    8: lambda number, inner: Entries(number, tuple(map(_entry, _all(inner, 2))), _text(inner, 1)),
    9: _loop,
}
"""By the number of the field of cel.expr.Expr's `expr_kind`."""


def _entry(data: bytes) -> tuple[Tree, Tree]:
    fields = _fields(data)
    key: Tree = _tree(_bytes(fields, 3)) if 3 in fields else Literal(_int(fields, 1), _text(fields, 2))
    return key, _tree(_bytes(fields, 4))


def _constant(fields: _Fields) -> Constant:
    kind = next(iter(fields), 1)
    return _CONSTANTS[kind](fields) if kind in _CONSTANTS else None


def _double(fields: _Fields) -> float:
    (number,) = struct.unpack("<d", _bytes(fields, 5))
    assert isinstance(number, float)
    return number


_CONSTANTS: Final[dict[int, Callable[[_Fields], Constant]]] = {
    2: lambda fields: bool(_int(fields, 2)),
    3: lambda fields: _int(fields, 3),
    4: lambda fields: Unsigned(_int(fields, 4) % (1 << 64)),
    5: _double,
    6: lambda fields: _text(fields, 6),
    7: lambda fields: _bytes(fields, 7),
}
"""By the number of the field of cel.expr.Constant's `constant_kind`; null is what is left."""


_PRIMITIVES: Final = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN: Final = {2: "timestamp", 3: "duration"}


def _type(data: bytes) -> str:
    """A cel.expr.Type; what has no word of its own here (messages, parameters of functions) is `dyn`."""
    fields = _fields(data)
    kind = next(iter(fields), 1)
    return _TYPES[kind](fields) if kind in _TYPES else "dyn"


def _list_type(fields: _Fields) -> str:
    return f"list<{_type(_bytes(_fields(_bytes(fields, 6)), 1))}>"


def _map_type(fields: _Fields) -> str:
    inner = _fields(_bytes(fields, 7))
    return f"map<{_type(_bytes(inner, 1))}, {_type(_bytes(inner, 2))}>"


_TYPES: Final[dict[int, Callable[[_Fields], str]]] = {
    2: lambda _: "null",
    3: lambda fields: _PRIMITIVES.get(_int(fields, 3), "dyn"),
    5: lambda fields: _WELL_KNOWN.get(_int(fields, 5), "dyn"),
    6: _list_type,
    7: _map_type,
    11: lambda _: "type",
}
"""By the number of the field of cel.expr.Type's `type_kind`."""
