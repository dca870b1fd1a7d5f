"""One expression by cel-cpp, which is the reference, and by the Lua that it becomes."""

from typing import Any, Final

from kit.lua import LuaError, lua
from portico.policy.expressions import Expression, Failed, compile_expression, evaluate
from portico.translate.policy.expressions import lua_of

_TYPES: Final = {
    "INT": "int",
    "DOUBLE": "double",
    "NULL": "null_type",
    "TYPE": "type",
    "LIST<DYN>": "list",
    "DURATION": "google.protobuf.Duration",
}
FAILED: Final = object()
"""What stands for a failure, whatever its words."""


def compiled(text: str) -> Expression:
    """Checked."""
    found = compile_expression(text)
    assert isinstance(found, Expression), found
    return found


def by_cel(text: str, values: dict[str, Any]) -> Any:
    """Its plain value where variables have these values, or FAILED."""
    found = evaluate(compiled(text), values)
    if type(found).__name__ == "Type":
        return _TYPES[found.name()]
    return FAILED if isinstance(found, Failed) else found


def by_lua(text: str, values: dict[str, Any]) -> Any:
    """The same."""
    try:
        return lua().evaluate(lua_of(compiled(text)), values)
    except LuaError:
        return FAILED


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or one is FAILED or other is FAILED:
        return one is other
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))


def agree(text: str, values: dict[str, Any]) -> None:
    """Asserts that both give the same value, or both fail."""
    expected, found = by_cel(text, values), by_lua(text, values)
    assert _same(expected, found), f"{text}\n{lua_of(compiled(text))}\nCEL: {expected!r}\nLua: {found!r}"
