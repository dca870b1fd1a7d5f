"""What Envoy runs of each action: its configuration as a Lua table, and native filters that do the rest of the job.

The function that the runtime calls is `P.action[type]` (`runtime/actions/*.lua`). A compiler of an action is a line in
`COMPILERS`; an action without one is refused at every door.
"""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.rate_limit import RateLimit
from portico.policy.document import Action
from portico.translate.policy.actions import (
    access,
    bodies,
    circuit_breaker,
    compression,
    endings,
    forward_internal,
    http_request,
    jwt_validation,
    messages,
    rate_limit,
    sign_in,
    urls,
    webhooks,
)
from portico.translate.policy.actions.compiled import Compiled, Compiler, NativeCompiler
from portico.translate.policy.together import Together

COMPILERS: Final[Mapping[str, Compiler]] = {
    **endings.COMPILERS,
    **messages.COMPILERS,
    **urls.COMPILERS,
    **access.COMPILERS,
    **forward_internal.COMPILERS,
    **circuit_breaker.COMPILERS,
    **webhooks.COMPILERS,
    **bodies.COMPILERS,
    **sign_in.COMPILERS,
    **jwt_validation.COMPILERS,
    **http_request.COMPILERS,
}

NATIVE_COMPILERS: Final[Mapping[str, NativeCompiler]] = {
    **rate_limit.COMPILERS,
    **compression.COMPILERS,
}
"""Those with filters of Envoy's, which have the action's place in their names."""


def compiled(action: Action, together: Together | None = None) -> Compiled:
    """What Envoy runs of it; `together` where nodes count together. Raises KeyError for an action that edges do not
    carry out."""
    if together is not None and isinstance(action.config, RateLimit):
        return rate_limit.together(action.config, action.place, together)
    if (native := NATIVE_COMPILERS.get(action.type)) is not None:
        return native(action.config, action.place)
    return COMPILERS[action.type](action.config)
