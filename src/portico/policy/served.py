"""What edges of this release carry out of a policy; the rest is refused at the door, never ignored."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.policy.actions import ACTIONS, NOT_OFFERED, TerminateTls
from portico.policy.document import Policy, read_policy
from portico.policy.text import read_text

_ENFORCED: Final = tuple(kind for kind, action in ACTIONS.items() if action.ENFORCED)


def served_policy(policy: str | Mapping[str, object]) -> Policy:
    """The policy, which has nothing but what is carried out. Raises PorticoError: NOT_SERVED, else BIND_INVALID."""
    if not policy:
        return Policy()
    reading = read_policy(policy)
    for kind, place in reading.types:
        if (kind in ACTIONS or kind in NOT_OFFERED) and kind not in _ENFORCED:
            raise PorticoError(
                NOT_SERVED,
                f"{place}: this edge does not offer traffic policies with the action {kind!r}, "
                f"only with {', '.join(_ENFORCED)}",
            )
    for problem in reading.problems:
        raise PorticoError(BIND_INVALID, f"{problem}")
    return reading.policy


def canonical_text(policy: str) -> str:
    """A policy that was checked, as the JSON that `Endpoint.traffic_policy` is; empty for one without rules."""
    values = read_text(policy).values
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False) if values else ""


def not_enforced(policy: Policy) -> list[str]:
    """The types of its actions that edges of this release refuse."""
    return sorted({action.type for action in policy.actions()} - set(_ENFORCED))


def terminate_tls(policies: Sequence[Policy]) -> TerminateTls | None:
    """What policies say of TLS, if one does. Raises PorticoError: NOT_SERVED, BIND_INVALID."""
    found: TerminateTls | None = None
    for rule in (rule for policy in policies for rule in policy.all_rules()):
        for action in rule.actions:
            if not isinstance(action.config, TerminateTls):
                continue
            if found is not None:
                raise PorticoError(BIND_INVALID, f"{action.place} is a second {action.type}; an endpoint has one")
            if rule.expressions:
                raise PorticoError(
                    NOT_SERVED, f"{action.place}: this edge does not offer {action.type} under expressions"
                )
            found = _fit(action.config, action.place)
    return found


def _fit(config: TerminateTls, place: str) -> TerminateTls:
    if any(one.holes for one in config.written()):
        raise PorticoError(NOT_SERVED, f"{place}: this edge takes PEM as it is, not by expressions")
    if any(one.text.startswith("ca_") for one in config.mutual_tls_certificate_authorities or ()):
        raise PorticoError(NOT_SERVED, f"{place}: this edge takes authorities as PEM, not by id")
    return config
