"""`redirect` and `url-rewrite`."""

from collections.abc import Mapping
from typing import Final

from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.actions.urls import Redirect, UrlRewrite
from portico.policy.template import Template
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text, texts
from portico.translate.policy.lua import Code, LuaValue


def pattern(template: Template) -> LuaValue:
    """A regular expression: compiled here, or a function of the visit that makes its text. Raises NOT_SERVED."""
    from portico.translate.policy.regular_expressions import RegexRefused, lua_program

    if template.literal is None:
        return text(template)
    try:
        return Code(lua_program(template.literal))
    except RegexRefused as refused:
        raise PorticoError(NOT_SERVED, f"{template.literal[:60]}: {refused}") from None


def _redirect(config: Redirect) -> Compiled:
    where = {"from": pattern(config.from_) if config.from_ else None, "to": text(config.to)}
    return Compiled({**where, "status": config.status_code, "headers": texts(config.headers)})


def _url_rewrite(config: UrlRewrite) -> Compiled:
    return Compiled({"from": pattern(config.from_) if config.from_ else None, "to": text(config.to)})


COMPILERS: Final[Mapping[str, Compiler]] = {Redirect.TYPE: _redirect, UrlRewrite.TYPE: _url_rewrite}
