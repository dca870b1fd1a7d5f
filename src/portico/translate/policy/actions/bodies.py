"""`request-body-find-replace` and `response-body-find-replace`."""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.bodies import BodyFindReplace, RequestBodyFindReplace, ResponseBodyFindReplace
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.urls import pattern
from portico.translate.policy.actions.values import text


def _find_replace(config: BodyFindReplace) -> Compiled:
    return Compiled({"replacements": [[pattern(one.from_), text(one.to)] for one in config.replacements]}, waits=True)


COMPILERS: Final[Mapping[str, Compiler]] = {
    RequestBodyFindReplace.TYPE: _find_replace,
    ResponseBodyFindReplace.TYPE: _find_replace,
}
