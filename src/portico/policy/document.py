"""A traffic policy as its owner wrote it: JSON or YAML, phases of rules of actions.

Keys are written as ngrok writes them (`on_tcp_connect`) or as Kubernetes does (`onTcpConnect`). What is wrong is
PorticoError(BIND_INVALID) with the place, such as `on_tcp_connect[0].actions[1]`; values are never repeated.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from portico.model.errors import BIND_INVALID, PorticoError

MAX_TEXT: Final = 262_144
"""Characters; a policy with ten certificate authorities has about 30,000."""
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RULE_KEYS: Final = ("name", "expressions", "actions")
_ACTION_KEYS: Final = ("type", "config")


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a rule, before anybody knows what its configuration means."""

    phase: str
    type: str
    place: str
    """Where it stands in the policy."""
    config: Mapping[str, object] = field(repr=False)
    """Its fields, in snake_case."""
    conditional: bool
    """Whether the rule has expressions."""


def read_actions(policy: str | Mapping[str, object]) -> list[Action]:
    """All actions of a policy, in order. Text, or the object of older SDKs."""
    document = _parsed(policy)
    if not document:
        return []
    if not isinstance(document, Mapping):
        raise PorticoError(BIND_INVALID, "the traffic policy is no object of phases")
    phases = snake_keys(document, "the traffic policy")
    if phases.pop("enabled", True) is False:
        return []
    return [action for phase, rules in phases.items() for action in _actions(phase, rules)]


def snake_keys(mapping: Mapping[object, object] | Mapping[str, object], place: str) -> dict[str, object]:
    """The same with keys in snake_case; `place` names it in errors."""
    found: dict[str, object] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise PorticoError(BIND_INVALID, f"{place} has a key that is no text")
        name = _CAPITAL.sub("_", key).lower()
        if name in found:
            raise PorticoError(BIND_INVALID, f"{place} has {name} twice")
        found[name] = value
    return found


def refuse_unknown(keys: Collection[str], known: Collection[str], place: str) -> None:
    """Raise for the first key that is not known, with the nearest one that is."""
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
            raise PorticoError(BIND_INVALID, f"{place} has no field {key[:60]!r}{hint}")


def _parsed(policy: str | Mapping[str, object]) -> object:
    if not isinstance(policy, str):
        return policy
    if len(policy) > MAX_TEXT:
        raise PorticoError(BIND_INVALID, f"the traffic policy is longer than {MAX_TEXT} characters")
    try:
        # An alias may stand for any number of copies of what it names, and nobody writes one here.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(policy, Loader=yaml.SafeLoader)):
            raise PorticoError(BIND_INVALID, "the traffic policy has a YAML alias; write the value out")
        parsed: object = yaml.safe_load(policy)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PorticoError(BIND_INVALID, "the traffic policy is neither JSON nor YAML") from None
    return parsed


def _actions(phase: str, rules: object) -> list[Action]:
    if not rules:
        return []
    if not isinstance(rules, list):
        raise PorticoError(BIND_INVALID, f"{phase[:60]} in the traffic policy is no list of rules")
    return [action for number, rule in enumerate(rules) for action in _of_rule(phase, f"{phase[:60]}[{number}]", rule)]


def _of_rule(phase: str, place: str, rule: object) -> list[Action]:
    fields = _object(rule, place)
    refuse_unknown(fields, _RULE_KEYS, place)
    actions, expressions = fields.get("actions"), fields.get("expressions") or []
    if not isinstance(actions, list) or not actions:
        raise PorticoError(BIND_INVALID, f"{place} has no list of actions")
    if not isinstance(expressions, list) or not all(isinstance(each, str) for each in expressions):
        raise PorticoError(BIND_INVALID, f"{place}.expressions is no list of texts")
    places = [f"{place}.actions[{number}]" for number in range(len(actions))]
    return [_action(phase, at, action, bool(expressions)) for at, action in zip(places, actions, strict=True)]


def _action(phase: str, place: str, written: object, conditional: bool) -> Action:
    fields = _object(written, place)
    refuse_unknown(fields, _ACTION_KEYS, place)
    kind, config = fields.get("type"), fields.get("config")
    if not isinstance(kind, str) or not kind:
        raise PorticoError(BIND_INVALID, f"{place} has no type")
    return Action(phase, kind, place, _object({} if config is None else config, f"{place}.config"), conditional)


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise PorticoError(BIND_INVALID, f"{place} is no object")
    return snake_keys(value, place)
