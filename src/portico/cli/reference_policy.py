"""The page `docs/reference/traffic-policy.md`: actions, their keys, variables and functions, from the registries."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from portico.cli.markdown import prose, table
from portico.policy.actions import ACTIONS, NOT_OFFERED, ActionConfig
from portico.policy.actions.action import Fields, inner_model
from portico.policy.functions import STANDARD, functions
from portico.policy.phases import Phase
from portico.policy.results import result_roots
from portico.policy.template import Template
from portico.policy.variables import variables
from portico.translate.policy.actions.webhooks import VERIFIED

_PHASES: Final = tuple(Phase)
_GATE: Final = "the gate; Lua where its answer is known"
_RUNS: Final = {
    "compress-response": "Lua, Envoy's `compressor`",
    "http-request": "Lua, the gate",
    "jwt-validation": _GATE,
    "oauth": _GATE,
    "openid-connect": _GATE,
    "rate-limit": "Lua, Envoy's `local_ratelimit`; with a shared database Lua, gate",
    "terminate-tls": "Envoy's TLS",
}
"""Actions that Lua alone does not carry out."""


def page() -> Iterator[str]:
    """Its lines."""
    yield from prose(
        """
        # Traffic policy

        How to write one is in the [guide](../guides/traffic-policy.md). The language is ngrok's; the column *with
        ngrok* compares an action's configuration: the same, more is understood (better), or something else (different).
        *Runs in* says what carries it out at an edge: Lua inside of Envoy, a filter of Envoy's, or the gate, a process
        beside Envoy that asks the world outside. On endpoints of tcp and tls it is the gate for all actions but
        `terminate-tls`, and nobody where a policy only has `restrict-ips` with networks written out: a filter chain
        tells those apart. A policy that edges cannot carry out is refused when an endpoint
        brings it (`PORTICO_20006`), never ignored.

        ## Actions
        """
    )
    yield from table(("Action", "What it does", "Phases", "Runs in", "With ngrok"), map(_action_row, ACTIONS.values()))
    yield f"ngrok's {', '.join(f'`{name}`' for name in NOT_OFFERED)} are not part of this language."
    yield ""
    for action in ACTIONS.values():
        yield from _action(action)
    yield from _variables()
    yield from _functions()


def _action_row(action: type[ActionConfig]) -> tuple[str, ...]:
    compared = action.COMPARED
    likeness = f"{compared.likeness}: {compared.how}" if compared.how else str(compared.likeness)
    phases = ", ".join(f"`{phase}`" for phase in action.PHASES)
    return (f"[`{action.TYPE}`](#{action.TYPE})", action.MEANING, phases, _RUNS.get(action.TYPE, "Lua"), likeness)


def _action(action: type[ActionConfig]) -> Iterator[str]:
    yield f"### {action.TYPE}"
    yield ""
    yield action.MEANING
    if action.TYPE == "verify-webhook":
        yield f"Edges verify webhooks of {', '.join(f'`{name}`' for name in VERIFIED)}."
        yield ""
    rows = list(_key_rows(action, ""))
    if rows:
        yield from table(("Key", "Value", "Default", "Meaning"), rows)
    else:
        yield ""
        yield "It has no keys."
        yield ""


def _key_rows(model: type[Fields], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        below = inner_model(field.annotation)
        if below is None:
            yield f"`{key}`", _value(field.annotation), _default(field), field.description or ""
        else:
            several = get_origin(field.annotation) is tuple
            yield from _key_rows(below, f"{key}{'[]' if several else ''}.")


_WORDS: Final = {
    Template: "text, `${}`",
    timedelta: "duration",
    bool: "true or false",
    int: "whole number",
    float: "number",
}


def _value(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, StrEnum)):
        return ", ".join(f"`{choice}`" for choice in parts or annotation)
    if origin is tuple:
        return f"list: {_value(parts[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping"
    if parts:  # Annotated, or one that may be absent
        return _value(next(part for part in parts if part is not type(None)))
    return _WORDS.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default == () or str(default) == "" or isinstance(default, Mapping):
        return ""
    if isinstance(default, timedelta):
        return f"`{default.total_seconds():g}s`"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _variables() -> Iterator[str]:
    yield "## Variables"
    rows = list(variables().values())
    yield from table(
        ("Variable", "Type", "Meaning", "Phases"),
        ((f"`{row.name}`", f"`{row.type}`", row.meaning, _phases(row.phases)) for row in rows if not row.missing),
    )
    yield "These are known by name and refused, with the reason:"
    reasons = dict.fromkeys(row.missing for row in rows if row.missing)
    yield from table(
        ("Variables", "Why they cannot be had"),
        ((", ".join(f"`{name}`" for name in _families(reason)), reason[:1].upper() + reason[1:]) for reason in reasons),
    )
    yield "What actions leave behind for later rules:"
    yield from table(
        ("Variable", "Meaning"),
        ((f"`{root}.{name}`", text) for root, fields in result_roots().items() for name, text in fields.items()),
    )


def _families(reason: str) -> Iterator[str]:
    """The names that are missing for this reason; `conn.geo.*` where all below `conn.geo` are."""
    seen = set()
    for name in (row.name for row in variables().values() if row.missing == reason):
        parent = name.rpartition(".")[0]
        beside = [row.missing for row in variables().values() if row.name.rpartition(".")[0] == parent]
        shown = f"{parent}.*" if set(beside) == {reason} else name
        if shown not in seen:
            seen.add(shown)
            yield shown


def _phases(known: tuple[Phase, ...]) -> str:
    return "all" if known == _PHASES else ", ".join(f"`{phase}`" for phase in known)


def _functions() -> Iterator[str]:
    yield "## Functions"
    yield from table(
        ("Function", "Result", "Phases"),
        ((f"`{function.signature}`", function.meaning, _phases(function.phases)) for function in functions()),
    )
    yield "Of CEL itself, and of its extension for strings:"
    yield from table(("Function", "Result"), ((f"`{name}`", meaning) for name, meaning in STANDARD.items()))
