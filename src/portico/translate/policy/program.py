"""A policy as Envoy's filters: Lua segments, and between them the native filters that some actions need.

A segment is one Lua filter. Its *program* is data to the runtime (`runtime/run.lua`): rules with functions for their
expressions and tables for their actions. The rules of `on_http_response` are the last segment's, which sees the
upstream's response first.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from portico.model.endpoint import EndpointUrl
from portico.policy.actions.circuit_breaker import CircuitBreaker
from portico.policy.actions.sign_in import SignIn
from portico.policy.actions.terminate_tls import TerminateTls
from portico.policy.document import Action, Policy, Rule
from portico.policy.expressions import Expression, compile_expression
from portico.policy.phases import Phase
from portico.translate.policy.actions import compiled
from portico.translate.policy.actions.compiled import Compiled
from portico.translate.policy.actions.values import function
from portico.translate.policy.carried import carried
from portico.translate.policy.expressions import lua_of
from portico.translate.policy.lua import Code, LuaValue, literal
from portico.translate.policy.runtime_source import request_script
from portico.translate.typed import Body, extension

SHARED_VM: Final = "portico"
"""Filters with the same runtime share one LuaJIT state a worker; each of its own would cost 270 KB."""

_ELSEWHERE: Final = (TerminateTls.TYPE,)
"""Actions that are settled before any request: they make the filter chain."""


@dataclass(slots=True)
class _Segment:
    """What one Lua filter runs."""

    connect: list[LuaValue] = field(default_factory=list)
    request: list[LuaValue] = field(default_factory=list)
    response: list[LuaValue] = field(default_factory=list)
    behind: tuple[Body, ...] = ()
    """Native filters that come after it."""

    def rules(self, phase: Phase) -> list[LuaValue]:
        return {Phase.TCP_CONNECT: self.connect, Phase.HTTP_REQUEST: self.request}.get(phase, self.response)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a policy runs."""

    url: EndpointUrl
    hop: int
    token: str
    """What the last segment writes into the request as its word that the policy lets it through."""
    inner_class: str | None
    """The class of requests that it forwards to internal endpoints; None where the way ends."""

    def facts(self) -> Mapping[str, LuaValue]:
        """The variables `endpoint.…`."""
        url = self.url
        addr = f"{url.host}:{url.port}"
        return {"url": str(url), "host": url.host, "port": url.port, "protocol": str(url.scheme), "addr": addr}


def policy_filters(policy: Policy, script: str, place: Place) -> list[Body]:
    """The filters of a checked policy, in order. `script` is the file of the runtime, with its other form beside it."""
    segments, around = _segments(policy)
    if around and len(segments) == 1:
        segments = [_Segment(), *segments]  # what the last one writes for them, the first one takes back
    sign_ins = _sign_ins(policy)
    kept, responds = carried(policy), _responds(policy)
    found: list[Body] = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if last:
            found += around
        program: dict[str, LuaValue] = {
            "connect": segment.connect,
            "request": segment.request,
            "response": segment.response,
            "carries": kept,
            "first": number == 0,
            "last": last,
            "responds": responds,
            "compresses": bool(around),
            "token": place.token if last else None,
            "hop": place.hop,
            "inner_class": place.inner_class,
            "endpoint": place.facts(),
            "sign_ins": sign_ins if sign_ins and number == 0 else None,
            "signs_in": bool(sign_ins),
        }
        hooked = responds or bool(around) or bool(sign_ins)
        found += [_lua(program, script if hooked else request_script(script), number), *segment.behind]
    return found


def _responds(policy: Policy) -> bool:
    """Whether anything is done when the response comes."""
    return bool(policy.on_http_response) or any(action.type == CircuitBreaker.TYPE for action in policy.actions())


def _sign_ins(policy: Policy) -> list[LuaValue]:
    """Its sign-ins, which answer on paths of their own whatever the rules say of those."""
    return [compiled(action).config for action in policy.actions() if isinstance(action.config, SignIn)]


def _segments(policy: Policy) -> tuple[list[_Segment], list[Body]]:
    """The segments, and the native filters of `on_http_response`, which stand before the last of them."""
    segments = [_Segment()]
    around: list[Body] = []
    for phase in Phase:
        for rule in policy.rules(phase):
            left = [(action, compiled(action)) for action in rule.actions if action.type not in _ELSEWHERE]
            if not left:
                continue
            if phase is Phase.HTTP_RESPONSE:
                around += [body for _, one in left for body in one.filters]
                segments[-1].response.append(_rule(rule, left))
                continue
            continued = False
            for part in _parts(left):
                segments[-1].rules(phase).append(_rule(rule, part, continued=continued))
                last = part[-1][1]
                if last.filters or last.pauses:
                    segments[-1].behind = last.filters
                    segments.append(_Segment())
                    continued = True
                if last.then is not None:
                    segments[-1].rules(phase).append(_after(rule, part[-1][0], last.then))
    return segments, around


def _parts(actions: Sequence[tuple[Action, Compiled]]) -> Iterator[Sequence[tuple[Action, Compiled]]]:
    """A rule's actions, cut behind those after which another filter must run."""
    start = 0
    for number, (_, one) in enumerate(actions):
        if one.filters or one.pauses:
            yield actions[start : number + 1]
            start = number + 1
    if start < len(actions):
        yield actions[start:]


def _head(rule: Rule, *, continued: bool) -> dict[str, LuaValue]:
    return {"place": rule.place, "name": rule.name, "stops": rule.stops, "continued": continued}


def _rule(rule: Rule, actions: Sequence[tuple[Action, Compiled]], *, continued: bool = False) -> LuaValue:
    return {
        **_head(rule, continued=continued),
        "when": [] if continued else [_condition(placed.text) for placed in rule.expressions],
        "actions": [
            {
                "act": Code(f"P.action[{literal(action.type)}]"),
                "type": action.type,
                "place": action.place,
                "stops": action.config.stops() or action.config.ends(),
                **one.config,
            }
            for action, one in actions
        ],
    }


def _after(rule: Rule, action: Action, then: Mapping[str, LuaValue]) -> LuaValue:
    """What is left of an action when its filters have run."""
    act = Code(f"P.action[{literal(f'{action.type}.then')}]")
    step = {"act": act, "type": action.type, "place": action.place, "stops": False, **then}
    return {**_head(rule, continued=True), "when": [], "actions": [step]}


def _condition(text: str) -> Code:
    found = compile_expression(text)
    assert isinstance(found, Expression)
    return function(lua_of(found))


def _lua(program: LuaValue, script: str, number: int) -> Body:
    source = f"local P = ...\nreturn {literal(program)}"
    return extension(
        f"policy-{number}",
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"filename": script},
        filter_context={"id": hashlib.sha256(source.encode()).hexdigest()[:32], "source": source},
        clear_route_cache=False,  # the runtime clears it once, where that is meant
        shared_vm_id=SHARED_VM,
    )
