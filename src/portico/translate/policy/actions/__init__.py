"""What Envoy runs of each action: its configuration as a Lua table, and native filters that do the rest of the job.

The function that the runtime calls is `P.action[type]` (`runtime/actions/*.lua`). A compiler of an action is a line in
`COMPILERS`; an action without one is refused at every door.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from portico.policy.document import Action
from portico.translate.policy.actions import endings
from portico.translate.policy.actions.compiled import Compiled

Compiler: TypeAlias = Callable[[Any], Compiled]

COMPILERS: Final[Mapping[str, Compiler]] = {**endings.COMPILERS}


def compiled(action: Action) -> Compiled:
    """What Envoy runs of it. Raises KeyError for an action that edges do not carry out."""
    return COMPILERS[action.type](action.config)
