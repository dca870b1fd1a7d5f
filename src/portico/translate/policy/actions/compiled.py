"""One action as Envoy runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    pauses: bool = False
    """Whether what comes next must wait until Envoy has looked at the route anew (forward-internal)."""
