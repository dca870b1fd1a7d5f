"""Whether Envoy can run a policy: compiled for no endpoint at all, so that a door can still say what is in the way."""

from portico.model.endpoint import EndpointUrl, Scheme
from portico.policy.document import Policy, read_policy
from portico.translate.policy.program import Place, policy_filters

_NOWHERE = Place(EndpointUrl(Scheme.HTTPS, "policy.invalid", 443), 0, "", "internal")


def refuse_what_cannot_run(text: str) -> None:
    """Raises PorticoError(NOT_SERVED) for the text of a checked policy that has what no edge can run."""
    refuse_what_cannot_compile(read_policy(text).policy)


def refuse_what_cannot_compile(policy: Policy) -> None:
    """The same of a policy that was read."""
    policy_filters(policy, "", _NOWHERE)
