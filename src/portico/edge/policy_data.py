"""What policies name and do not hold: the networks of IP policies, which change while the policy stays."""

import json
from collections.abc import Callable, Collection
from typing import Any, Final

from portico.model.ip_rules import IpRules

_EVERYBODY: Final = ("0.0.0.0/0", "::/0")
_KEYS: Final = ("ip_policies", "ipPolicies")


def names_ip_policies(policy: str) -> bool:
    """Whether a policy, as `Endpoint.traffic_policy` has it, may name IP policies."""
    return any(key in policy for key in _KEYS)


def reads_data(policy: str) -> bool:
    """Whether a policy may name what changes while the policy stays: IP policies, or secrets."""
    return names_ip_policies(policy) or "secrets" in policy


def with_ip_policies(policy: str, networks_of: Callable[[Collection[str]], IpRules]) -> str:
    """The policy with what its IP policies say now in place of their ids. Nobody is let in by one that is gone."""
    phases: dict[str, list[dict[str, Any]]] = json.loads(policy)
    for rule in (rule for rules in phases.values() for rule in rules):
        for action in rule.get("actions", ()):
            config = action.get("config")
            if action.get("type") != "restrict-ips" or not isinstance(config, dict):
                continue
            named = [ident for key in _KEYS for ident in _listed(config.pop(key, None))]
            if not named:
                continue
            rules = networks_of(named)
            config["allow"] = [*_listed(config.get("allow")), *rules.allowed]
            config["deny"] = [*_listed(config.get("deny")), *rules.denied]
            if not config["allow"]:
                config["deny"] = list(_EVERYBODY)
    return json.dumps(phases, separators=(",", ":"), ensure_ascii=False)


def _listed(value: Any) -> list[str]:
    """A list may be written as its one entry alone."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
