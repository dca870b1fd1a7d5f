"""`redirect` and `url-rewrite`."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.actions.urls import Redirect, UrlRewrite
from portico.policy.template import Template
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text, texts
from portico.translate.policy.lua import Code, LuaValue

_ESCAPED: Final = re.compile(r"\\([^\w\s])")
_SIGN: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


def pattern(template: Template) -> LuaValue:
    """A regular expression: compiled here, or a function of the visit that makes a text. Raises NOT_SERVED."""
    from portico.translate.policy.regular_expressions import RegexRefused, lua_program

    if template.literal is None:
        return text(_plain(template))
    try:
        return Code(lua_program(template.literal))
    except RegexRefused as refused:
        raise PorticoError(NOT_SERVED, f"{template.literal[:60]}: {refused}") from None


def _plain(template: Template) -> Template:
    """The text that a template looks for: Envoy compiles no patterns, so with expressions in it it is none."""
    found = tuple(_ESCAPED.sub(r"\1", part) if isinstance(part, str) else part for part in template.parts)
    if any(_SIGN.search(_ESCAPED.sub("", part)) for part in template.parts if isinstance(part, str)):
        raise PorticoError(
            NOT_SERVED,
            f"{template.text[:60]}: a regular expression with ${{}} in it must be plain text beside that; "
            r"write a backslash before \.+*?()|[]{}^$",
        )
    return replace(template, parts=found)


def _redirect(config: Redirect) -> Compiled:
    where = {"from": pattern(config.from_) if config.from_ else None, "to": text(config.to)}
    return Compiled({**where, "status": config.status_code, "headers": texts(config.headers)})


def _url_rewrite(config: UrlRewrite) -> Compiled:
    return Compiled({"from": pattern(config.from_) if config.from_ else None, "to": text(config.to)})


COMPILERS: Final[Mapping[str, Compiler]] = {Redirect.TYPE: _redirect, UrlRewrite.TYPE: _url_rewrite}
