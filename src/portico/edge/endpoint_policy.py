"""The traffic policy that any door brings: checked as a whole before anything is bound."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from portico.model.endpoint import Networks, Scheme
from portico.model.errors import PorticoError

if TYPE_CHECKING:
    from portico.policy.actions import TerminateTls
    from portico.policy.document import Policy

_PLACE: Final = re.compile(r"(\w+)\[(\d+)\]\.actions\[0\]\.config\.?")


class EndpointPolicy(NamedTuple):
    """What a door takes from policies."""

    text: str = ""
    """For `Endpoint.traffic_policy`."""
    terminate: "TerminateTls | None" = None
    """What they say of TLS."""
    networks: Networks | None = None
    """Who may connect, where the endpoint is one of bytes and its policy says no more: no filter has to ask then."""


def endpoint_policy(
    written: Sequence[str | Mapping[str, object]], scheme: Scheme, options: Mapping[str, Any] | None = None
) -> EndpointPolicy:
    """Read policies that run one behind the other. Raises PorticoError: NOT_SERVED, BIND_INVALID.

    Before them runs the policy that `options` of an agent make: what is wrong there is told of the options.
    """
    if not any((options, *written)):
        return EndpointPolicy()
    # Imported here: its 150 ms of CPU time are for the first endpoint with a policy, not for every start.
    from portico.policy.byte_policies import is_of_networks, networks_of_bytes, refuse_what_bytes_have_not
    from portico.policy.served import canonical_text, served_policy, terminate_tls
    from portico.translate.byte_policies import refuse_what_is_untold
    from portico.translate.policy.carried import variables_of
    from portico.translate.policy.trial import refuse_what_cannot_run

    policies = [served_policy(policy) for policy in written]
    if options:
        policies, written = [_of_options(options), *policies], [options, *written]
    if scheme in (Scheme.HTTP, Scheme.HTTPS):
        text = canonical_text(*written)
        refuse_what_cannot_run(text)
        return EndpointPolicy(text, terminate_tls(policies))
    terminate = terminate_tls(policies)
    refuse_what_bytes_have_not(policies, scheme)
    refuse_what_is_untold((name for policy in policies for name in variables_of(policy)), scheme)
    if is_of_networks(policies):
        return EndpointPolicy("", terminate, networks_of_bytes(policies))
    return EndpointPolicy(canonical_text(*written), terminate)


def _of_options(policy: Mapping[str, Any]) -> "Policy":
    from portico.policy.served import served_policy

    try:
        return served_policy(policy)
    except PorticoError as error:
        found = _PLACE.match(error.message)
        if found is None:
            raise
        kind = policy[found[1]][int(found[2])]["actions"][0]["type"]
        rest = error.message[found.end() :]
        words = f"{kind}{rest}" if rest.startswith(":") else f"{kind}: {rest}"
        raise PorticoError(error.code, words, fix=f"Correct the options for {kind}.") from None
