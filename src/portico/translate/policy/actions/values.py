"""Parts of configurations as Lua: texts with expressions become functions of the visit."""

from collections.abc import Mapping

from portico.policy.expressions import Expression, compile_expression
from portico.policy.template import Template
from portico.translate.policy.expressions import lua_of
from portico.translate.policy.lua import Code, LuaValue
from portico.translate.policy.templates import lua_of_template, lua_of_value


def text(template: Template) -> LuaValue:
    """A text, or a function that makes it."""
    if template.literal is not None:
        return template.literal
    return function(lua_of_template(template))


def texts(templates: Mapping[str, Template]) -> LuaValue:
    """Pairs of names and texts, in order."""
    return [[name, text(template)] for name, template in templates.items()]


def nested(value: object) -> LuaValue:
    """A function that makes a value of the language of any shape, whose texts alone keep the types of their values."""
    return function(_nested(value))


def expression(written: str) -> LuaValue:
    """A function with the value of a checked expression."""
    found = compile_expression(written)
    assert isinstance(found, Expression)
    return function(lua_of(found))


def function(body: str) -> Code:
    """`body`, an expression over the visit `v`, as a function."""
    return Code(f"function(v) return {body} end")


def _nested(value: object) -> str:
    match value:
        case Template():
            return lua_of_value(value)
        case None:
            return "P.null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"({value!r})"
        case Mapping():
            pairs = (f"{{{Code(_key(name))}, {_nested(item)}}}" for name, item in value.items())
            return f"P.map{{{', '.join(pairs)}}}"
        case tuple():
            return f"P.list{{{', '.join(map(_nested, value))}}}"
    raise TypeError(type(value).__name__)  # `policy.actions.nested` makes no others


def _key(name: str) -> str:
    from portico.translate.policy.lua import literal

    return literal(name)
