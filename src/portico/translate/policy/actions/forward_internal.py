"""`forward-internal`: the route is looked for anew, among the internal endpoints of the same owner."""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.forward_internal import ForwardInternal
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text


def _forward_internal(config: ForwardInternal) -> Compiled:
    return Compiled({"url": text(config.url), "halts": config.ends()}, pauses=not config.ends())


COMPILERS: Final[Mapping[str, Compiler]] = {ForwardInternal.TYPE: _forward_internal}
