"""Whether Envoy can run a policy: compiled for no endpoint at all, so that a door can still say what is in the way."""

from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.document import Policy, read_policy
from portico.policy.phases import Phase
from portico.translate.policy.program import Place, policy_filters

_NOWHERE = Place(EndpointUrl(Scheme.HTTPS, "policy.invalid", 443), 0, "", "internal")
_OF_BYTES = ("terminate-tls",)
"""What endpoints of tls and tcp may say."""


def refuse_what_cannot_run(text: str, scheme: Scheme) -> None:
    """Raises PorticoError(NOT_SERVED) for a checked policy that endpoints of this scheme cannot have."""
    policy = read_policy(text).policy
    if scheme in (Scheme.HTTP, Scheme.HTTPS):
        refuse_what_cannot_compile(policy)
    else:
        _refuse_http(policy, scheme)


def refuse_what_cannot_compile(policy: Policy) -> None:
    """Raises PorticoError(NOT_SERVED) for a checked policy that has what no edge can run."""
    policy_filters(policy, "", _NOWHERE)


def _refuse_http(policy: Policy, scheme: Scheme) -> None:
    for action in policy.actions():
        if action.phase is not Phase.TCP_CONNECT:
            raise PorticoError(NOT_SERVED, f"{action.place}: an endpoint of {scheme} has no requests of HTTP")
        if action.type not in _OF_BYTES:
            offered = ", ".join(_OF_BYTES)
            raise PorticoError(
                NOT_SERVED, f"{action.place}: endpoints of {scheme} are not offered {action.type}, only {offered}"
            )
