"""One action as Envoy runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from portico.translate.policy.lua import LuaValue
from portico.translate.typed import Body


@dataclass(frozen=True, slots=True)
class Compiled:
    """The table that the runtime's function of this action gets, and the filters of Envoy's that finish its work."""

    config: Mapping[str, LuaValue] = field(default_factory=dict)
    """Templates in it are functions of the visit."""
    filters: tuple[Body, ...] = ()
    """Run right behind the action, before what the policy says next. They run for every request that comes so far, so
    each must do nothing unless the action has told it to, by a private header of the request."""
    then: Mapping[str, LuaValue] | None = None
    """What the runtime does first when those filters have run, if it has come here."""
    waits: bool = False
    """Whether the runtime may have to wait in it: for the gate, or for a body."""
    pauses: bool = False
    """Whether what comes next must wait until Envoy has looked at the route anew (forward-internal)."""


Compiler: TypeAlias = Callable[[Any], Compiled]
"""Of a configuration."""
NativeCompiler: TypeAlias = Callable[[Any, str], Compiled]
"""Of a configuration and the action's place, which the names of its filters and headers are made of."""
