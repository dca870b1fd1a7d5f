"""A policy as Envoy's filters: Lua segments, and between them the native filters that some actions need.

A segment is one Lua filter. Its *program* is data to the runtime (`runtime/run.lua`): rules with functions for their
expressions and tables for their actions. The rules of `on_http_response` are the first segment's: a visit that is
forwarded comes to no later part of the policy.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from portico.model.endpoint import EndpointUrl
from portico.model.errors import NOT_SERVED, PorticoError
from portico.model.geoip import GeoDatabases
from portico.policy.actions.bodies import RequestBodyFindReplace
from portico.policy.actions.circuit_breaker import CircuitBreaker
from portico.policy.actions.sign_in import SignIn
from portico.policy.actions.terminate_tls import TerminateTls
from portico.policy.actions.verify_webhook import VerifyWebhook
from portico.policy.document import Action, Policy, Rule
from portico.policy.expressions import Expression, compile_expression
from portico.policy.phases import Phase
from portico.translate.policy.actions import compiled
from portico.translate.policy.actions.compiled import Compiled
from portico.translate.policy.actions.values import function
from portico.translate.policy.carried import carried, variables_of
from portico.translate.policy.expressions import lua_of
from portico.translate.policy.facts import FACTS, HEADERS, fact_filters
from portico.translate.policy.lua import Code, LuaValue, literal
from portico.translate.policy.runtime_source import request_script
from portico.translate.policy.slots import MAX_PARTS
from portico.translate.policy.together import Together
from portico.translate.typed import Body, extension

SHARED_VM: Final = "portico"
"""Filters with the same runtime share one LuaJIT state a worker; each of its own would cost 270 KB."""

_READ_BODIES: Final = (VerifyWebhook.TYPE, RequestBodyFindReplace.TYPE)
"""Actions on the request's body, which must be asked for before the visit waits for anything else."""
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
    waits: bool = False
    """Whether it may have to wait while the request stands still."""

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
    together: Together | None = None
    """Set where its rate limits are counted with other nodes."""
    geoip: GeoDatabases = field(default_factory=GeoDatabases)

    def facts(self) -> Mapping[str, LuaValue]:
        """The variables `endpoint.…`."""
        url = self.url
        addr = f"{url.host}:{url.port}"
        return {"url": str(url), "host": url.host, "port": url.port, "protocol": str(url.scheme), "addr": addr}


def policy_filters(policy: Policy, script: str, place: Place) -> list[list[Body]]:
    """The filters of a checked policy, in order. `script` is the file of the runtime, with its other form beside it.

    They come in parts, each for a composite of its own: what waits within a composite goes on behind it (Envoy 1.40),
    so a part ends there. Raises PorticoError(NOT_SERVED) where there would be more than `MAX_PARTS`.
    """
    segments, around = _segments(policy, place.together)
    shared = _shared(policy, place, around)
    sees_responses = shared["responds"] or shared["compresses"] or shared["signs_in"]
    runtime = script if sees_responses else request_script(script)
    # Outside of what compresses stands who takes back what the rules have written for it.
    parts: list[list[Body]] = [[_lua(_RESTORES, runtime, "restores"), *around], []] if around else [[]]
    for number, segment in enumerate(segments):
        first, last = number == 0, number == len(segments) - 1
        program = {**shared, **_own(segment, first=first, last=last), "token": place.token if last else None}
        parts[-1].append(_lua(program, runtime, str(number)))
        if (segment.waits or (first and shared["signs_in"])) and not last:
            parts.append([])
        parts[-1] += segment.behind
    known, looked_up = fact_filters(variables_of(policy), place.geoip)
    if looked_up:  # these wait
        parts.insert(0, [*known, *looked_up])
    else:
        parts[0][:0] = known
    if len(parts) > MAX_PARTS:
        raise PorticoError(
            NOT_SERVED,
            f"the policy has {len(parts)} parts that wait for each other; {MAX_PARTS} are the most",
            fix="Put rate limits before sign-ins, tokens, http-request and webhooks.",
        )
    return parts


def _shared(policy: Policy, place: Place, around: list[Body]) -> dict[str, LuaValue]:
    """What the programs of all segments say."""
    sign_ins = _sign_ins(policy)
    return {
        "carries": carried(policy),
        "responds": _responds(policy),
        "compresses": bool(around),
        "hop": place.hop,
        "inner_class": place.inner_class,
        "endpoint": place.facts(),
        "sign_ins": sign_ins or None,
        "signs_in": bool(sign_ins),
        "own_sessions": _own_sessions(sign_ins),
        "facts": HEADERS if FACTS & variables_of(policy) else None,
        "reads_body": any(action.type in _READ_BODIES for action in policy.actions()),
    }


def _own(segment: _Segment, *, first: bool, last: bool) -> dict[str, LuaValue]:
    """What only this segment's program says."""
    return {
        "connect": segment.connect,
        "request": segment.request,
        "response": segment.response,
        "first": first,
        "last": last,
        **({} if first else {"sign_ins": None}),
    }


def _responds(policy: Policy) -> bool:
    """Whether anything is done when the response comes."""
    return bool(policy.on_http_response) or any(action.type == CircuitBreaker.TYPE for action in policy.actions())


def _own_sessions(sign_ins: Sequence[Mapping[str, LuaValue]]) -> LuaValue:
    """Tags of its sign-ins; `true` for all that there are, where one is known only in the visit."""
    tags = [one["tag"] for one in sign_ins]
    return (True if None in tags else tags) if tags else None


def _sign_ins(policy: Policy) -> list[Mapping[str, LuaValue]]:
    """Its sign-ins, which answer on paths of their own whatever the rules say of those."""
    return [compiled(action).config for action in policy.actions() if isinstance(action.config, SignIn)]


def _segments(policy: Policy, together: Together | None) -> tuple[list[_Segment], list[Body]]:
    """The segments, and the native filters of `on_http_response`, which stand before all of them."""
    segments = [_Segment()]
    around: list[Body] = []
    for phase in Phase:
        for rule in policy.rules(phase):
            left = [(one, compiled(one, together)) for one in rule.actions if one.type not in _ELSEWHERE]
            if not left:
                continue
            if phase is Phase.HTTP_RESPONSE:
                around += [body for _, one in left for body in one.filters]
                segments[0].response.append(_rule(rule, left))
                continue
            continued = False
            for part in _parts(left):
                if part[-1][1].pauses and segments[-1].waits:
                    # The next filter must find out what became of it, and that is not behind one that waits.
                    segments.append(_Segment())
                segments[-1].waits |= any(one.waits for _, one in part)
                segments[-1].rules(phase).append(_rule(rule, part, continued=continued))
                last = part[-1][1]
                continued = True
                if last.filters or last.pauses:
                    segments[-1].behind = last.filters
                    segments.append(_Segment())
                if last.then is not None:
                    segments[-1].rules(phase).append(_after(rule, part[-1][0], last.then))
    return segments, around


def _parts(actions: Sequence[tuple[Action, Compiled]]) -> Iterator[Sequence[tuple[Action, Compiled]]]:
    """A rule's actions, cut behind those after which another filter must run, and before one that must not wait."""
    start = 0
    for number, (_, one) in enumerate(actions):
        if one.pauses and any(before.waits for _, before in actions[start:number]):
            yield actions[start:number]
            start = number
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


_RESTORES: Final[LuaValue] = {"restores": True}
"""The program of the filter outside of compressors."""


def _lua(program: LuaValue, script: str, name: str) -> Body:
    source = f"local P = ...\nreturn {literal(program)}"
    return extension(
        f"policy-{name}",
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"filename": script},
        filter_context={"id": hashlib.sha256(source.encode()).hexdigest()[:32], "source": source},
        clear_route_cache=False,  # the runtime clears it once, where that is meant
        shared_vm_id=SHARED_VM,
    )
