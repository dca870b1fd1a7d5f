"""A part of an expression as Lua text, with what the compiler knows of its value."""

from dataclasses import dataclass
from typing import Final


class NotInLuaError(ValueError):
    """An expression that Lua cannot compute as CEL does; the text says what of it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A Lua expression: a literal, a call, or in parentheses, so that anything may stand beside it."""

    text: str
    type: str
    """Of its value, in CEL's words."""
    fails: bool = False
    """Whether evaluation may raise a failure."""
    constant: bool | int | float | str | None = None
    """What it is where it is a literal."""

    @property
    def kind(self) -> str:
        """The type without what is in it: `list` of `list<string>`."""
        return self.type.partition("<")[0]

    @property
    def known(self) -> bool:
        """Whether its type is known before there is a value."""
        return self.type != "dyn"


_CHECKS: Final = {
    "bool": "P.op.truth({})",
    "string": "P.op.text({})",
    "int": "P.op.whole({})",
    "uint": "P.op.natural({})",
    "double": "P.op.number({})",
    "list": "P.op.list({})",
    "map": "P.op.map({})",
    "bytes": 'P.op.of_kind({}, "bytes")',
    "timestamp": 'P.op.of_kind({}, "google.protobuf.Timestamp")',
    "duration": 'P.op.of_kind({}, "google.protobuf.Duration")',
    "type": 'P.op.of_kind({}, "type")',
    "null": 'P.op.of_kind({}, "null_type")',
    "list or map": 'P.op.of_kind({}, "list", "map")',
    "moment": 'P.op.of_kind({}, "google.protobuf.Timestamp", "google.protobuf.Duration")',
}


def of_type(piece: Piece, wanted: str) -> Piece:
    """The piece where a value of that type is asked for: one whose type is not known is looked at when it is there."""
    if wanted == "list<string>" and piece.type != wanted:
        return Piece(f"P.op.texts({piece.text})", wanted, fails=True)
    if piece.known or wanted == "dyn":
        return piece
    return Piece(_CHECKS[wanted.partition("<")[0]].format(piece.text), wanted, fails=True)


def call(function: str, pieces: tuple[Piece, ...], type_: str, *, fails: bool = False) -> Piece:
    """A call of a function of the runtime."""
    text = f"{function}({', '.join(piece.text for piece in pieces)})"
    return Piece(text, type_, fails or any(piece.fails for piece in pieces))
