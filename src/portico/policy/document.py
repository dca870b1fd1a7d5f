"""A traffic policy as values: phases of rules of actions, with everything that is wrong with their form.

Keys are written as ngrok writes them (`on_tcp_connect`) or as Kubernetes does (`onTcpConnect`). Expressions are kept
with their places; whether they mean something is `check.py`'s matter.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from portico.policy.actions import ACTIONS, NOT_OFFERED
from portico.policy.actions.action import ActionConfig, inner_model, snake
from portico.policy.phases import OTHER_NAMES, Phase
from portico.policy.problems import Mark, Problem, Severity, did_you_mean
from portico.policy.text import KeyPath, PolicyText, read_text, shown

MAX_PROBLEMS: Final = 1_000
"""Nobody reads more, and a hostile text could have one in each of its characters."""
_RULE_KEYS: Final = ("name", "expressions", "actions")
_ACTION_KEYS: Final = ("type", "config")
_OTHER_TYPES: Final = {"oidc": "openid-connect", "jwt": "jwt-validation", "rewrite": "url-rewrite"}
_NO_EVENT_STREAMS: Final = "on_event_stream_message"
_WORDS: Final = {
    "missing": "is missing",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression of a rule, and where it stands."""

    text: str
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a rule."""

    phase: Phase
    config: ActionConfig
    path: KeyPath

    @property
    def type(self) -> str:
        """As it is written."""
        return self.config.TYPE

    @property
    def place(self) -> str:
        """Such as `on_http_request[0].actions[1]`."""
        return shown(self.path)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done, in order, where all expressions are true."""

    phase: Phase
    name: str
    expressions: tuple[Placed, ...]
    actions: tuple[Action, ...]
    path: KeyPath

    @property
    def place(self) -> str:
        """Such as `on_http_request[0]`."""
        return shown(self.path)

    @property
    def stops(self) -> bool:
        """Whether it may keep a request from its upstream: if an expression of it fails, the request is refused."""
        return any(action.config.stops() for action in self.actions)


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules by phase, in order."""

    on_tcp_connect: tuple[Rule, ...] = ()
    on_http_request: tuple[Rule, ...] = ()
    on_http_response: tuple[Rule, ...] = ()

    def rules(self, phase: Phase) -> tuple[Rule, ...]:
        """Those of one phase."""
        found: tuple[Rule, ...] = getattr(self, phase.value)
        return found

    def all_rules(self) -> Iterator[Rule]:
        """Those of all phases, in the order in which they run."""
        return (rule for phase in Phase for rule in self.rules(phase))

    def actions(self) -> Iterator[Action]:
        """All actions, in the order in which they run."""
        return (action for rule in self.all_rules() for action in rule.actions)


@dataclass(slots=True)
class Reading:
    """What a text says: as much of a policy as could be read, and what is wrong."""

    text: PolicyText
    policy: Policy = field(default_factory=Policy)
    problems: list[Problem] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)
    """Every action's type as it is written, known or not, and its place."""

    def problem(self, path: KeyPath, text: str, severity: Severity = Severity.ERROR, mark: Mark | None = None) -> None:
        """Note one thing that is wrong at `path`."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(severity, mark or self.text.mark(path), shown(path), text))

    def written(self, path: KeyPath) -> KeyPath:
        """A path in snake_case as the text writes it, whose keys may be in camelCase."""
        value = self.text.values
        found: KeyPath = ()
        for part in path:
            if isinstance(part, int) and isinstance(value, Mapping):
                continue  # a list of one that was written without its list
            keys = [key for key in value if isinstance(key, str)] if isinstance(value, Mapping) else []
            same = next((key for key in keys if snake(key) == part), part)
            key = part if part in keys else same
            found, value = (*found, key), _below(value, key)
        return found


def read_policy(policy: str | Mapping[str, object]) -> Reading:
    """Read JSON, YAML, or the object of older SDKs. Never raises; see `problems`."""
    found = _read_text(policy) if isinstance(policy, str) else _read(policy)
    return replace(found, problems=[*found.problems])


# A change shows its text to the door that checks it, to its endpoint and to Envoy's configuration, one after the other;
# the longest of them takes 15 MB once read.
@lru_cache(4)
def _read_text(policy: str) -> Reading:
    return _read(policy)


def _read(policy: str | Mapping[str, object]) -> Reading:
    text = read_text(policy)
    reading = Reading(text, problems=list(text.problems))
    values = text.values
    if not values:
        return reading
    if not isinstance(values, Mapping):
        reading.problem((), "the traffic policy is no object of phases")
        return reading
    keys = _keys(reading, values, (), (*Phase, *OTHER_NAMES, "enabled"), "phase")
    if keys.pop("enabled", (None, True))[1] is False:
        return reading
    rules: dict[Phase, list[Rule]] = {phase: [] for phase in Phase}
    for name, (written, value) in keys.items():
        phase = OTHER_NAMES.get(name) or Phase(name)
        rules[phase] += _rules(reading, phase, (written,), value)
    reading.policy = Policy(*(tuple(rules[phase]) for phase in Phase))
    return reading


def _keys(
    reading: Reading, values: Mapping[Any, Any], path: KeyPath, known: tuple[str, ...], what: str
) -> dict[str, tuple[str, Any]]:
    """Known keys in snake_case, each with how it is written and its value."""
    found: dict[str, tuple[str, Any]] = {}
    for written, value in values.items():
        if not isinstance(written, str):
            reading.problem(path, "has a key that is no text")
            continue
        name = snake(written)
        if name in found:
            reading.problem((*path, written), f"{shown(path) or 'the traffic policy'} has {name} twice")
        elif name == _NO_EVENT_STREAMS:
            reading.problem((*path, written), "this phase is not offered; events of a stream pass as they are")
        elif name not in known:
            near = did_you_mean(name, known) or f"; it has {', '.join(known[:3])}"
            reading.problem((*path, written), f"there is no {what} {written[:60]}{near}")
        else:
            found[name] = (written, value)
    return found


def _rules(reading: Reading, phase: Phase, path: KeyPath, rules: Any) -> Iterator[Rule]:
    if not rules:
        return
    if not isinstance(rules, list | tuple):
        reading.problem(path, "is no list of rules")
        return
    for number, rule in enumerate(rules):
        yield from _rule(reading, phase, (*path, number), rule)


def _rule(reading: Reading, phase: Phase, path: KeyPath, rule: Any) -> Iterator[Rule]:
    if not isinstance(rule, Mapping):
        reading.problem(path, "is no object with actions")
        return
    keys = _keys(reading, rule, path, _RULE_KEYS, "key")
    written, name = keys.get("name", ("name", ""))
    if not isinstance(name, str | None):
        reading.problem((*path, written), "must be text")
    written, actions = keys.get("actions", ("actions", None))
    if not isinstance(actions, list | tuple) or not actions:
        absent = "actions" not in keys
        reading.problem((*path, written)[: 2 if absent else 3], f"{'has' if absent else 'is'} no list of actions")
        actions = ()
    expressions = tuple(_expressions(reading, path, *keys.get("expressions", ("expressions", None))))
    found = [_action(reading, phase, (*path, written, number), action) for number, action in enumerate(actions)]
    known = tuple(action for action in found if action)
    yield Rule(phase, name if isinstance(name, str) else "", expressions, known, path)


def _expressions(reading: Reading, rule: KeyPath, written: str, expressions: Any) -> Iterator[Placed]:
    path = (*rule, written)
    if expressions is None:
        return
    if not isinstance(expressions, list | tuple):
        reading.problem(path, "is no list of expressions")
        return
    for number, text in enumerate(expressions):
        if isinstance(text, bool):  # YAML reads `- true` so
            yield Placed(str(text).lower(), (*path, number))
        elif isinstance(text, str):
            yield Placed(text, (*path, number))
        else:
            reading.problem((*path, number), "must be text; put the expression in quotes")


def _action(reading: Reading, phase: Phase, path: KeyPath, action: Any) -> Action | None:
    if not isinstance(action, Mapping):
        reading.problem(path, "is no object with type and config")
        return None
    keys = _keys(reading, action, path, _ACTION_KEYS, "key")
    written, kind = keys.get("type", ("type", None))
    if not isinstance(kind, str) or not kind:
        reading.problem((*path, written), "has no type" if kind is None else "must be text")
        return None
    reading.types.append((kind, shown(path)))
    if kind not in ACTIONS:
        offered = "ngrok's action of this name is not offered here" if kind in NOT_OFFERED else ""
        hint = did_you_mean(_OTHER_TYPES.get(kind, kind), ACTIONS)
        near = f"there is no action {kind[:60]!r}{hint}"
        reading.problem((*path, written), offered or near)
        return None
    if phase not in ACTIONS[kind].PHASES:
        reading.problem((*path, written), f"{kind} belongs into the phase {' or '.join(ACTIONS[kind].PHASES)}")
    written, config = keys.get("config", ("config", None))
    return _configured(reading, phase, path, ACTIONS[kind], (written, {} if config is None else config))


def _configured(
    reading: Reading, phase: Phase, path: KeyPath, kind: type[ActionConfig], config: tuple[str, Any]
) -> Action | None:
    at = (*path, config[0])
    if not isinstance(config[1], Mapping):
        reading.problem(at, "must be a mapping of keys to values")
        return None
    try:
        return Action(phase, kind.model_validate(dict(config[1])), path)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
        places = [item["loc"] for item in found]
        for item in found:
            # A list whose only items are wrong counts as too short, too, which helps nobody.
            inside = any(len(place) > len(item["loc"]) and place[: len(item["loc"])] == item["loc"] for place in places)
            if not (item["type"] == "too_short" and inside):
                _told(reading, at, kind, item)
        return _sound_part(phase, path, kind, config[1], {snake(str(place[0])) for place in places if place})


def _sound_part(
    phase: Phase, path: KeyPath, kind: type[ActionConfig], config: Mapping[Any, Any], wrong: set[str]
) -> Action | None:
    """The action by its other keys, where they are enough for one: the same run is to check their expressions."""
    rest = {key: value for key, value in config.items() if snake(str(key)) not in wrong}
    with suppress(ValidationError):
        return Action(phase, kind.model_validate(rest), path)
    return None


def _told(reading: Reading, at: KeyPath, kind: type[ActionConfig], item: Any) -> None:
    """pydantic's finding in our words; a value is looked at only for the nearest word of a choice."""
    path = reading.written((*at, *(part for part in item["loc"] if part != "[key]")))
    match item["type"]:
        case "extra_forbidden":
            known = _known_keys(kind, item["loc"][:-1])
            near = did_you_mean(snake(str(item["loc"][-1])), known) or f"; it has {', '.join(known) or 'no keys'}"
            reading.problem(path, f"there is no key {str(item['loc'][-1])[:60]}{near}")
        case "literal_error":
            choices = str(item["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            given = item["input"] if isinstance(item["input"], str) else ""
            near = did_you_mean(given, choices) if len(choices) > 1 else ""
            reading.problem(path, f"must be {' or '.join(choices)}{near}")
        case "value_error":
            reading.problem(path, str(item["msg"]).removeprefix("Value error, "))
        case "too_short" | "too_long":
            short, bounds = item["type"] == "too_short", item["ctx"]
            count = bounds["min_length"] if short else bounds["max_length"]
            reading.problem(path, f"must have at {'least' if short else 'most'} {count}")
        case other:
            words = str(item["msg"]).replace("Input should", "must").replace("String should", "must")
            reading.problem(path, _WORDS.get(other, words))


def _below(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    inside = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
    return value[part] if inside else None


def _known_keys(kind: type[ActionConfig], location: tuple[str | int, ...]) -> list[str]:
    model: Any = kind
    for part in location:
        if isinstance(part, int):
            continue
        field_ = next((one for name, one in model.model_fields.items() if (one.alias or name) == part), None)
        inner = inner_model(field_.annotation) if field_ else None
        if inner is None:
            return []
        model = inner
    keys: list[str] = model.key_names()
    return keys
