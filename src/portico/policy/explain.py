"""What a policy does to one request, rule by rule, worked out here and not in Envoy.

An expression that fails refuses the request where its rule could have stopped it; otherwise the rule is passed over.
What only the world outside knows (a key server, a counter, a person) is assumed, and said to be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from portico.policy.actions import SetVars
from portico.policy.actions.action import Fields
from portico.policy.document import Action, Placed, Policy, Rule
from portico.policy.effects import Effect, End, Ending, Scene, UnfilledError, shown
from portico.policy.expressions import Expression, Failed, compile_expression, evaluate
from portico.policy.functions.deciding import decides, deciding
from portico.policy.functions.messages import HIDDEN
from portico.policy.phases import Phase
from portico.policy.request import Visit, connection_values, request_values, response_values
from portico.policy.template import Template


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression of a rule and its value; `failed` has the reason where it has none."""

    text: str
    value: Any = None
    failed: str = ""
    unknown: bool = False
    """Whether it failed only because this explanation was not told enough."""


@dataclass(frozen=True, slots=True)
class Done:
    """An action that ran."""

    type: str
    place: str
    config: Mapping[str, Any]
    """What it was told, with the values of its expressions; secrets are hidden."""
    effect: Effect


@dataclass(frozen=True, slots=True)
class Ran:
    """A rule that was come to."""

    phase: Phase
    name: str
    place: str
    asked: tuple[Asked, ...]
    fires: bool
    done: tuple[Done, ...] = ()
    refused: bool = False
    """Whether an expression failed and the request was refused for it."""

    @property
    def unknown(self) -> bool:
        """Whether it could fire if more was known."""
        return not self.fires and any(asked.unknown for asked in self.asked)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rules that were come to, and what the visitor gets."""

    rules: tuple[Ran, ...]
    ending: Ending | None
    """None: the upstream answers."""
    status: int
    """Of the response, the upstream's or the policy's; 0 where there is none."""
    upstream_url: str
    """What the upstream is asked for, if it is."""
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Variables by whole name, as the rules have left them: the request and the response on their way."""
    logged: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the rules want to be written to the access log."""
    reached: bool = False
    """Whether somebody behind the policy was asked."""

    @property
    def assumed(self) -> bool:
        """Whether something was assumed on the way."""
        return any(done.effect.assumed for ran in self.rules for done in ran.done) or any(
            ran.unknown for ran in self.rules
        )

    def __str__(self) -> str:
        if self.ending is None:
            answer = f"; the visitor gets its {self.status}" if self.status else ""
            return f"passes to the upstream ({self.upstream_url}){answer}"
        return f"the visitor gets {self.ending}" if self.ending.kind is End.RESPONSE else str(self.ending)


def explain(policy: Policy, visit: Visit) -> Explanation:
    """Run a checked policy over a visit. Raises PorticoError(OPTION_INVALID) for a visit that cannot be."""
    scene = Scene(connection_values(visit))
    request = request_values(visit) if visit.http else {}
    rules: list[Ran] = []
    ending = _phase(policy, Phase.TCP_CONNECT, scene, rules)
    if not visit.http:
        return Explanation(tuple(rules), ending, 0, visit.url, scene.values)
    connected = ending is None
    if connected:
        scene.values.update(request)
        ending = _phase(policy, Phase.HTTP_REQUEST, scene, rules)
    url = scene.text("req.url")
    status = visit.status if ending is None else ending.status or 0
    reached = connected and (ending is None or ending.kind is End.FORWARDED)
    if reached:
        scene.values.update(response_values(visit))
        ending = _phase(policy, Phase.HTTP_RESPONSE, scene, rules) or ending
        status = (ending.status if ending else None) or visit.status
    elif ending is not None and ending.passed_on:
        scene.values.update(response_values(_answered(visit, ending)))
        ending = _phase(policy, Phase.HTTP_RESPONSE, scene, rules) or replace(ending, headers=_joined(scene.headers))
        status = ending.status or 0
    return Explanation(tuple(rules), ending, status, url, scene.values, reached=reached)


def _answered(visit: Visit, ending: Ending) -> Visit:
    """The visit with a policy's answer in the place of the upstream's."""
    length = {"content-length": str(len(ending.body.encode()))} if ending.body else {}
    facts = {name: fact for name, fact in visit.facts.items() if not name.startswith("res.")}
    fields = tuple({**ending.headers, **length}.items())
    return replace(visit, status=ending.status or 0, response_headers=fields, facts=facts)


def _joined(headers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Fields that came more than once in one (RFC 9110, 5.3)."""
    return {name: ", ".join(values) for name, values in headers.items() if name != "content-length"}


def connect(policy: Policy, values: Mapping[str, Any], is_there: Callable[[str], object]) -> Explanation:
    """Decide by `on_tcp_connect` what becomes of a connection that is there; nothing is assumed.

    `values` are variables by whole name; `is_there` finds an internal endpoint by URL, if it is
    online.
    """
    scene = Scene(dict(values), is_there=is_there)
    rules: list[Ran] = []
    with deciding():
        ending = _phase(policy, Phase.TCP_CONNECT, scene, rules)
    return Explanation(tuple(rules), ending, 0, scene.text("endpoint.url"), scene.values, scene.logged)


def _phase(policy: Policy, phase: Phase, scene: Scene, rules: list[Ran]) -> Ending | None:
    scene.phase = phase
    for rule in policy.rules(phase):
        ran, ending = _rule(rule, scene)
        rules.append(ran)
        if ending is not None:
            return ending
    return None


def _rule(rule: Rule, scene: Scene) -> tuple[Ran, Ending | None]:
    asked: list[Asked] = []
    for placed in rule.expressions:
        asked.append(_asked(placed, scene))
        if asked[-1].failed or asked[-1].value is not True:
            break
    fires = all(one.value is True and not one.failed for one in asked)
    ran = Ran(rule.phase, rule.name, rule.place, tuple(asked), fires)
    if fires:
        done, ending = _actions(rule, scene)
        return replace(ran, done=tuple(done)), ending
    if rule.stops and any(one.failed and not one.unknown for one in asked):
        return replace(ran, refused=True), _refusal(rule.phase)
    return ran, None


def _asked(placed: Placed, scene: Scene) -> Asked:
    expression = compile_expression(placed.text)
    if not isinstance(expression, Expression):
        return Asked(placed.text, failed=expression[0].text)
    value = evaluate(expression, scene.values)
    if isinstance(value, Failed):
        return Asked(placed.text, failed=value.reason, unknown=_may_be_there(value.unknown, scene))
    if not isinstance(value, bool):
        return Asked(placed.text, failed="is no bool")
    return Asked(placed.text, value)


def _may_be_there(name: str, scene: Scene) -> bool:
    """Whether a variable without a value may have one when the request comes.

    What the request has none of, it has none of then; and no action leaves anything that has not run.
    """
    if decides():
        return False
    if name.startswith("actions."):
        return scene.assumed
    return bool(name) and name not in ("req.url.port", "req.content_length")


def _refusal(phase: Phase) -> Ending:
    """What a failed expression of a rule that could have stopped the request brings."""
    return Ending(End.CLOSED) if phase is Phase.TCP_CONNECT else Ending(End.RESPONSE, 403)


def _actions(rule: Rule, scene: Scene) -> tuple[list[Done], Ending | None]:
    done: list[Done] = []
    for action in rule.actions:
        config = plain(action.config, scene, typed=action.config.KEEPS_TYPES)
        effect = _effect(action, scene)
        if isinstance(action.config, SetVars):  # its later variables may use its earlier ones
            config = plain(action.config, scene, typed=True)
        scene.assumed = scene.assumed or effect.assumed
        done.append(Done(action.type, action.place, config, effect))
        if effect.ending is not None:
            return done, effect.ending
    return done, None


def _effect(action: Action, scene: Scene) -> Effect:
    try:
        return action.config.act(scene)
    except UnfilledError as error:
        if action.config.stops() or action.config.ends():
            return Effect(f"refuses, because {error}", _refusal(action.phase))
        return Effect(f"does nothing, because {error}")


def plain(value: Any, scene: Scene, *, typed: bool) -> Any:
    """A configuration as plain values, filled, and without secrets."""
    if isinstance(value, Fields):
        kept = {
            field.alias or name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if name in value.model_fields_set
        }
        return {name: plain(item, scene, typed=typed) for name, item in kept.items()}
    if isinstance(value, Template):
        return HIDDEN if value.hidden else shown(value, scene, typed=typed)
    if isinstance(value, Mapping):
        return {name: plain(item, scene, typed=typed) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item, scene, typed=typed) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else _shown_otherwise(value)


def _shown_otherwise(value: Any) -> str:
    seconds = getattr(value, "total_seconds", None)
    return f"{seconds():g}s" if seconds else str(value)


__all__ = ["Asked", "Done", "Explanation", "Ran", "connect", "explain", "plain"]
