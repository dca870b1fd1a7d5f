"""Lua text: values as literals, so that nothing a policy says can become code."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from portico.model.errors import POLICY_INVALID, PorticoError


class Code(str):
    """Lua as it is: an expression that a compiler wrote."""

    __slots__ = ()


LuaValue: TypeAlias = "Code | str | bytes | bool | int | float | Mapping[str, LuaValue] | Sequence[LuaValue] | None"


def literal(value: LuaValue) -> str:  # noqa: PLR0911 - one for each kind
    """`value` as a Lua expression; a mapping is a table by name, a sequence one by number, None is nil."""
    match value:
        case Code():
            return value
        case str():
            return quoted(value.encode("utf-8", "surrogatepass"))
        case bytes():
            return quoted(value)
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case Mapping():
            return "{" + ", ".join(f"[{literal(key)}] = {literal(item)}" for key, item in value.items()) + "}"
        case _:
            return "{" + ", ".join(map(literal, value)) + "}"


def quoted(data: bytes) -> str:
    """A string literal: printable ASCII as it is, everything else as `\\ddd`."""
    return '"' + "".join(_character(byte) for byte in data) + '"'


def _character(byte: int) -> str:
    plain = 32 <= byte < 127 and byte not in b'"\\'
    return chr(byte) if plain else f"\\{byte:03d}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise PorticoError(POLICY_INVALID, f"{value} is no number that a policy can have")
    return f"({value!r})" if value < 0 else repr(value)
