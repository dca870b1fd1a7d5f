"""What edges of this release carry out of a policy; the rest is refused at the door, never ignored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.policy.actions import ACTIONS, NOT_OFFERED, TerminateTls
from portico.policy.actions.action import snake
from portico.policy.check import check_reading, errors
from portico.policy.document import Policy, read_policy
from portico.policy.phases import OTHER_NAMES, Phase

_ENFORCED: Final = tuple(ACTIONS)
_FIX: Final = "Correct the policy; `portico policy check FILE` tells everything, with line and column."


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
    checked, problems = check_reading(reading)
    wrong = errors(problems)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise PorticoError(BIND_INVALID, f"{wrong[0]}{more}", fix=_FIX, problems=tuple(map(str, wrong)))
    return checked


def canonical_text(*policies: str | Mapping[str, object]) -> str:
    """Policies that were checked, one behind the other, as the JSON that `Endpoint.traffic_policy` is.

    Empty where none of them has a rule.
    """
    rules: dict[str, list[object]] = {}
    for policy in policies:
        reading = read_policy(policy)
        values = reading.text.values
        if not isinstance(values, Mapping) or not any(reading.policy.all_rules()):
            continue
        for key, given in values.items():
            phase = OTHER_NAMES.get(snake(key)) or snake(key)
            if phase in list(Phase) and given:
                rules.setdefault(str(phase), []).extend(filter(None, map(_without_tls, given)))
    rules = {phase: given for phase, given in rules.items() if given}
    return json.dumps(rules, separators=(",", ":"), ensure_ascii=False) if rules else ""


def _without_tls(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """A rule without `terminate-tls`, which is settled when the endpoint is bound, and has private keys."""
    left = [action for action in rule["actions"] if action.get("type") != TerminateTls.TYPE]
    return {**rule, "actions": left} if left else None


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
