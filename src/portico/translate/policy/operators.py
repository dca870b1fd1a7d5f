"""Operators of expressions as Lua: its own where the types are known, the runtime's where they are not."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from portico.translate.policy.pieces import Piece, call, of_type

NUMBERS: Final = frozenset({"int", "uint", "double"})
SIMPLE: Final = frozenset({"string", "bool", "null", "type", *NUMBERS})
"""Types whose values are equal where Lua says so: the others' are tables."""
_NEVER_FALSE: Final = frozenset(
    {"string", "int", "uint", "double", "bytes", "list", "map", "timestamp", "duration", "type", "null"}
)
_MOST: Final = 50
"""Functions in one call: Lua has 250 registers."""

Operator = Callable[[tuple[Piece, ...], str], Piece]


def conjunction(sides: Sequence[Piece], *, every: bool) -> Piece:
    """`&&` (or `||`) of several sides. One that fails is made good by a later one that decides, so all but the last
    of those that may fail are functions, called one by one."""
    sides = [of_type(side, "bool") for side in sides]
    first = next((number for number, side in enumerate(sides) if side.fails), len(sides))
    word, caught = ("and", "P.op.every") if every else ("or", "P.op.some")
    texts = [side.text for side in sides]
    if first < len(sides) - 1:
        texts[first:] = [_one_by_one(caught, texts[first:])]
    return Piece(f"({f' {word} '.join(texts)})", "bool", first < len(sides))


def _one_by_one(caught: str, texts: list[str]) -> str:
    while len(texts) > _MOST:
        texts = [_called(caught, texts[at : at + _MOST]) for at in range(0, len(texts), _MOST)]
    return _called(caught, texts)


def _called(caught: str, texts: list[str]) -> str:
    return f"{caught}({', '.join(f'function() return {text} end' for text in texts)})"


def choice(condition: Piece, one: Piece, other: Piece, type_: str) -> Piece:
    """`condition ? one : other`. Lua's `and or` takes a false `one` for an untrue condition, so such a one is boxed."""
    condition = of_type(condition, "bool")
    fails = condition.fails or one.fails or other.fails
    if one.kind in _NEVER_FALSE:
        return Piece(f"({condition.text} and {one.text} or {other.text})", type_, fails)
    return Piece(f"(({condition.text} and {{{one.text}}} or {{{other.text}}})[1])", type_, fails)


def _equal(pieces: tuple[Piece, ...], type_: str, *, negated: bool = False) -> Piece:
    a, b = pieces
    fails = a.fails or b.fails
    if a.kind in SIMPLE or b.kind in SIMPLE:
        return Piece(f"({a.text} {'~=' if negated else '=='} {b.text})", type_, fails)
    text = f"P.op.equal({a.text}, {b.text})"
    return Piece(f"(not {text})" if negated else text, type_, fails)


def _compared(pieces: tuple[Piece, ...], type_: str, *, sign: str) -> Piece:
    a, b = pieces
    kinds = {piece.kind for piece in pieces if piece.known}
    plain = "string" if "string" in kinds else "double" if kinds & NUMBERS else ""
    if plain:
        a, b = of_type(a, plain), of_type(b, plain)
        return Piece(f"({a.text} {sign} {b.text})", type_, a.fails or b.fails)
    if sign in (">", ">="):
        a, b = b, a
    return call("P.op.less" if sign in ("<", ">") else "P.op.at_most", (a, b), type_, fails=not (a.known and b.known))


_ARITHMETIC: Final[dict[str, dict[str, str]]] = {
    "_+_": {"string": "({} .. {})", "double": "({} + {})", "list": "P.op.append({}, {})"},
    "_-_": {"double": "({} - {})", "uint": "P.op.sub_uint({}, {})"},
    "_*_": {"double": "({} * {})"},
    "_/_": {"double": "({} / {})"},
    "_%_": {},
}
_OF_WHOLE: Final = {
    "_+_": "P.op.add_int",
    "_-_": "P.op.sub_int",
    "_*_": "P.op.mul_int",
    "_/_": "P.op.div_int",
    "_%_": "P.op.mod_int",
}
_OF_ANY: Final = {
    "_+_": "P.op.add",
    "_-_": "P.op.subtract",
    "_*_": "P.op.multiply",
    "_/_": "P.op.divide",
    "_%_": "P.op.modulo",
}


def _arithmetic(pieces: tuple[Piece, ...], type_: str, *, name: str) -> Piece:
    kind = next((piece.kind for piece in pieces if piece.known), "dyn")
    a, b = (of_type(piece, kind) for piece in pieces)
    if form := _ARITHMETIC[name].get(kind):
        return Piece(form.format(a.text, b.text), type_, a.fails or b.fails or kind == "uint")
    if kind in ("int", "uint"):
        return call(_OF_WHOLE[name], (a, b), type_, fails=True)
    return call(_OF_ANY[name], pieces, type_, fails=kind != "bytes")


def _negative(pieces: tuple[Piece, ...], type_: str) -> Piece:
    (a,) = pieces
    if a.kind == "double":
        return Piece(f"(-{a.text})", type_, a.fails)
    if a.kind == "int":
        return Piece(f"(0 - {a.text})", type_, a.fails)  # Lua knows a negative zero
    return call("P.op.negative", pieces, type_, fails=True)


def _not(pieces: tuple[Piece, ...], type_: str) -> Piece:
    a = of_type(pieces[0], "bool")
    return Piece(f"(not {a.text})", type_, a.fails)


def _index(pieces: tuple[Piece, ...], type_: str) -> Piece:
    function = {"list": "P.op.item", "map": "P.op.entry"}.get(pieces[0].kind, "P.op.index")
    # Of a map that nobody knows the checker only says what stands around it wants.
    return call(function, pieces, type_ if pieces[0].known else "dyn", fails=True)


def _in(pieces: tuple[Piece, ...], type_: str) -> Piece:
    function = {"list": "P.op.among", "map": "P.op.key_of"}.get(pieces[1].kind, "P.op.within")
    return call(function, pieces, type_, fails=not pieces[1].known)


OPERATORS: Final[dict[str, Operator]] = {
    "_==_": _equal,
    "_!=_": partial(_equal, negated=True),
    **{f"_{sign}_": partial(_compared, sign=sign) for sign in ("<", "<=", ">", ">=")},
    **{name: partial(_arithmetic, name=name) for name in _ARITHMETIC},
    "-_": _negative,
    "!_": _not,
    "_[_]": _index,
    "@in": _in,
}
"""By the name of the operator in the tree; what is not here (`&&`, `||`, `? :`) does not evaluate all its sides."""
