"""Texts with `${…}` as Lua, with the meaning that `policy/effects.py` gives them."""

from portico.model.errors import PorticoError
from portico.policy.template import Hole, Template
from portico.translate.policy.expressions import piece_of
from portico.translate.policy.lua import literal
from portico.translate.policy.pieces import Piece

_TEXTS = {
    "string": "{}",
    "int": "P.op.int_text({})",
    "uint": "P.op.int_text({})",
    "bool": '({} and "true" or "false")',
    "double": "P.op.double_text({})",
}
_MOST = 50
"""Texts that Lua joins at once: each takes a register, of which there are 250."""


def lua_of_template(template: Template) -> str:
    """A Lua expression over `v` that is the text with its expressions' values. Raises NOT_SERVED."""
    texts = [literal(part) if isinstance(part, str) else _text(_piece(template, part)) for part in template.parts]
    return _hidden(template, _joined(texts))


def lua_of_value(template: Template) -> str:
    """The same, but of `${…}` alone the value as it is. Raises NOT_SERVED."""
    if template.alone is None:
        return lua_of_template(template)
    piece = _piece(template, template.alone)
    plain = piece.kind in ("string", "int", "uint", "bool", "bytes", "timestamp", "duration")
    return _hidden(template, piece.text if plain else f"P.op.presentable({piece.text})")


def _piece(template: Template, hole: Hole) -> Piece:
    try:
        return piece_of(hole.expression)
    except PorticoError as error:
        if template.hidden:
            raise PorticoError(error.code, "an expression of a secret cannot be computed by an edge") from None
        raise


def _text(piece: Piece) -> str:
    return _TEXTS.get(piece.kind, "P.op.text_of({})").format(piece.text)


def _joined(texts: list[str]) -> str:
    while len(texts) > 1:
        texts = [f"({' .. '.join(texts[at : at + _MOST])})" for at in range(0, len(texts), _MOST)]
    return texts[0]


def _hidden(template: Template, text: str) -> str:
    if template.hidden and template.holes:
        return f"P.op.hidden(function() return {text} end)"
    return text
