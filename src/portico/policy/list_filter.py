"""Filters of lists: a small part of CEL over the fields of one entry, `obj` (https://ngrok.com/docs/api/api-filtering/).

No loops, arithmetic, indexes or regular expressions: what a filter costs grows with its length alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from portico.policy import syntax
from portico.policy.expressions import Fault, plain_reason
from portico.policy.problems import did_you_mean

MAX_FILTER: Final = 2_048
"""Characters."""
MAX_NODES: Final = 300
TEXT: Final = "google.protobuf.StringValue"
"""A string that may be null."""
TIME: Final = "timestamp"
NOW: Final = "time.now"
_OPERATORS: Final = ("_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "-_")
_FUNCTIONS: Final = (
    "size", "startsWith", "endsWith", "contains", "timestamp", "now", "daysAgo", "add", "subtract",
)  # fmt: skip
_ERROR: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_DURATION: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SAMPLES: Final = {TEXT: "", "bool": False, "int": 0, TIME: datetime(2000, 1, 1, tzinfo=UTC)}
_ABSENT: Final = ("No matching overload", "No value with name")
"""How errors begin that come of a null, or of a time that is not there: times cannot be null."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """A filter that means something."""

    texts: frozenset[str]
    """Texts that it compares with."""
    program: Any = field(repr=False, compare=False)

    def matches(self, values: Mapping[str, Any]) -> bool | Fault:
        """Whether an entry with these values (by whole name, `obj.url`) is wanted; a Fault where that cannot be said.

        What is asked of a field that this entry does not have, such as whether null begins with a text, is false.
        """
        found = self.program.eval(data={**values, NOW: datetime.now(UTC)})
        if found.type().name() != "ERROR":
            return found.plain_value() is True
        reason = re.sub(r"^[A-Z_]+: ", "", str(found.value()))
        return False if reason.startswith(_ABSENT) else Fault(0, reason[:1].lower() + reason[1:200])


def compile_filter(text: str, fields: tuple[tuple[str, str], ...]) -> ListFilter | tuple[Fault, ...]:
    """The filter over fields, each with its type in CEL's words, or everything that is wrong with it. Never raises."""
    if len(text) > MAX_FILTER:
        return (Fault(0, f"a filter has at most {MAX_FILTER} characters"),)
    types = dict(fields)
    try:
        program = _environment(fields).compile(text)
    except (RuntimeError, TypeError, ValueError) as error:
        return tuple(_faults(text, str(error), types)) or (Fault(0, "this is no filter"),)
    tree = syntax.read(program.serialize())
    nodes = list(tree.walk())
    wrong = [Fault(tree.positions.get(node.id, 0), reason) for node in nodes if (reason := _unwanted(node))]
    if len(nodes) > MAX_NODES:
        wrong.append(Fault(0, f"a filter has at most {MAX_NODES} parts"))
    if program.return_type().name() not in ("BOOL", "DYN"):
        wrong.append(Fault(0, f"it is {program.return_type().name().lower()}, but must be true or false"))
    if wrong:
        return tuple(wrong)
    texts = (node.value for node in nodes if isinstance(node, syntax.Literal))
    # The type that lets a text be null takes no plain text as its value; where it is run, anything goes.
    program = _environment(tuple((name, "dyn" if kind == TEXT else kind) for name, kind in fields)).compile(text)
    found = ListFilter(frozenset(value for value in texts if isinstance(value, str)), program)
    sample = found.matches({name: _SAMPLES.get(kind) for name, kind in fields})
    return (sample,) if isinstance(sample, Fault) else found


@lru_cache(64)
def _environment(fields: tuple[tuple[str, str], ...]) -> Any:
    # Imported here: an edge whose lists nobody filters needs none of its 20 MB.
    from cel_expr_python import cel

    time, text = cel.Type(TIME), cel.Type("string")

    def function(name: str, parameters: list[Any], compute: Any, *, member: bool = False) -> Any:
        overload = cel.Overload(f"{name}_of_list", time, parameters, is_member=member, impl=compute)
        return cel.FunctionDecl(name, [overload])

    return cel.NewEnv(
        variables={NOW: time, **{name: cel.Type(kind) for name, kind in fields}},
        functions=[
            function("now", [], lambda: datetime.now(UTC)),
            function("daysAgo", [cel.Type("int")], lambda days: datetime.now(UTC) - timedelta(days=days)),
            function("add", [time, text], lambda at, span: at + _span(span), member=True),
            function("subtract", [time, text], lambda at, span: at - _span(span), member=True),
        ],
    )


def _span(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration is a number with s, m, h, d or w, such as 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _unwanted(node: syntax.Tree) -> str:
    match node:
        case syntax.Call(function=name) if name not in (*_OPERATORS, *_FUNCTIONS):
            return f"filters have no {name.strip('@').replace('_', ' ').strip()}"
        case syntax.Loop() | syntax.Entries():
            return "filters have no loops and no maps"
    return ""


def _faults(text: str, said: str, types: Mapping[str, str]) -> Iterator[Fault]:
    lines = text.split("\n")
    for line, column, reason in _ERROR.findall(said):
        number = max(int(line), 1) - 1
        at = sum(len(before) + 1 for before in lines[:number]) + max(int(column) - 1, 0)
        words = re.finditer(r"[\w.]+\(?", text)
        word = next((found for found in words if found.start() <= at < found.end()), None)
        if "undeclared reference" not in reason or word is None:
            yield Fault(at, plain_reason(reason))
        elif word[0].endswith("("):
            name = word[0][:-1].rpartition(".")[2]
            yield Fault(word.start(), f"there is no function {name[:60]}{did_you_mean(name, _FUNCTIONS)}")
        else:
            near = did_you_mean(word[0], types) or f"; there are {', '.join(sorted(types)[:40])}"
            yield Fault(word.start(), f"there is no field {word[0][:60]}{near}")
