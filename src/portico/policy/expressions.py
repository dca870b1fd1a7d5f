"""Expressions: checked, typed, with their tree, and evaluated.

The compiler is Google's own (cel-cpp, as `cel-expr-python`). What it says of a slip is put into the words of somebody
who writes policies; what it cannot know (phases, fields of action results) is checked here on the tree.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from portico.policy import syntax
from portico.policy.functions import STANDARD, functions, messages
from portico.policy.phases import Phase
from portico.policy.problems import did_you_mean
from portico.policy.results import result_fields, result_roots
from portico.policy.syntax import Syntax
from portico.policy.variables import OBJECT, RETRY, variables

MAX_EXPRESSION: Final = 16_384
"""Characters."""
_ERROR: Final = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(.+?)'")
_HAS: Final = re.compile(r"\bhas\s*\(\s*([\w.\s]+?)\s*\)")
_OVERLOAD: Final = re.compile(r"found no matching overload for '(.+?)' applied to '(.+)'")
_UNREAD: Final = re.compile(r"token recognition error at: '(.+)'")
_UNWANTED: Final = re.compile(r"(?:extraneous|mismatched|no viable alternative at) input '(.+)'")
_OPERATORS: Final = {"@in": "in", "_?_:_": "? :", "_[_]": "[ ]"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, at a character of its text (from 0)."""

    offset: int
    text: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression that means something."""

    text: str
    type: str
    """Of its value, in CEL's words: `bool`, `string`, `list<string>`, `dyn` …"""
    syntax: Syntax = field(repr=False)
    checked: bytes = field(repr=False)
    """A serialized google.protobuf.Any of cel.expr.CheckedExpr."""
    variables: frozenset[str]
    """Those it reads, by whole name (`req.url.path`, `vars`, `actions.ngrok.oauth`)."""
    functions: frozenset[str]
    """Those it calls beside operators: `inCidrRange`, `startsWith`, `secrets.get`."""
    program: Any = field(repr=False, compare=False)
    """The library's own form, to be evaluated."""

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown."""
        return "secrets.get" in self.functions

    @property
    def constant(self) -> bool:
        """Whether every visit gives it the same value, which is quickly found: one with loops may run long."""
        steady = {function.name for function in functions() if function.steady} | set(STANDARD)
        loops = any(isinstance(node, syntax.Loop) for node in self.syntax.walk())
        return not loops and not self.variables and self.functions <= steady


@dataclass(frozen=True, slots=True)
class Failed:
    """Evaluation ended in an error; `unknown` names the variable where it only lacks one that was not given."""

    reason: str
    unknown: str = ""


def compile_expression(text: str) -> Expression | tuple[Fault, ...]:
    """The expression, or everything that is wrong with it. Never raises."""
    if len(text) > MAX_EXPRESSION:
        return (Fault(0, f"an expression has at most {MAX_EXPRESSION} characters"),)
    return _compiled(text)


@lru_cache(2048)
def _compiled(text: str) -> Expression | tuple[Fault, ...]:
    environment = _environment()
    try:
        program = environment.compile(text)
    except (RuntimeError, TypeError, ValueError) as error:
        return tuple(_faults(text, str(error))) or (Fault(0, "this is no expression"),)
    checked = program.serialize()
    tree = syntax.read(checked)
    bound = {name for node in tree.walk() if isinstance(node, syntax.Loop) for name in (node.variable,)}
    names = {node.name for node in tree.walk() if isinstance(node, syntax.Name)} - bound
    calls = {node.function for node in tree.walk() if isinstance(node, syntax.Call)}
    return Expression(
        text=text,
        type=program.return_type().name().lower(),
        syntax=tree,
        checked=checked,
        variables=frozenset(name for name in names if name in variables() or name in result_roots()),
        functions=frozenset(name for name in calls if name[0].isalpha()),
        program=program,
    )


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """Its plain value where variables have these values (by whole name), or Failed. Never raises."""
    with messages.visit(dict(values)):
        try:
            found = expression.program.eval(data=dict(values))
            value = found.plain_value() if found.type().name() != "ERROR" else Failed(str(found.value()))
        except (RuntimeError, TypeError, ValueError) as error:
            value = Failed(str(error))
    return _in_words(value) if isinstance(value, Failed) else _immutable(value)


def _in_words(failed: Failed) -> Failed:
    reason = re.sub(r"^[A-Z_]+: ", "", failed.reason)
    if missing := re.search(r'No value with name "(.+?)"', reason):
        return Failed(f"{missing[1]} is not known here", unknown=missing[1])
    if missing := re.search(r"^(\S+) is not known here", reason):
        return Failed(f"{missing[1]} is not known here", unknown=missing[1])
    if missing := re.search(r'Key not found in map : "?(.+?)"?$', reason):
        return Failed(f"there is no entry {missing[1]}")
    return Failed(reason[:1].lower() + reason[1:200])


def _immutable(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, list):
        return [_immutable(item) for item in value]
    return {key: _immutable(item) for key, item in value.items()} if isinstance(value, dict) else value


@cache
def _environment() -> Any:
    # Imported here: an edge without expressions needs none of its 20 MB, and the command line may lack it.
    from cel_expr_python import cel
    from cel_expr_python.ext.ext_strings import ExtStrings

    declared: dict[str, list[Any]] = {}
    for number, function in enumerate(functions()):
        overload = cel.Overload(
            f"{function.name}_{number}",
            cel.Type(function.result),
            [cel.Type(kind) for kind in function.parameters],
            is_member=function.method,
            impl=function.compute,
        )
        declared.setdefault(function.name, []).append(overload)
    types = {name: cel.Type(variable.type) for name, variable in variables().items()}
    types |= {root: cel.Type(OBJECT) for root in result_roots()}
    return cel.NewEnv(
        variables=types,
        functions=[cel.FunctionDecl(name, overloads) for name, overloads in declared.items()],
        extensions=[ExtStrings()],
    )


def check_expression(expression: Expression, phase: Phase, *, retry: bool = False) -> Iterator[Fault]:
    """What is wrong with it in this phase; `retry` where it is a `retry_condition`."""
    yield from _check_has(expression)
    for node in expression.syntax.walk():
        at = expression.syntax.positions.get(node.id, 0)
        match node:
            case syntax.Name(name=name) if name in variables():
                yield from _check_name(name, _begin_of(expression.text, at), phase, retry=retry)
            case syntax.Call():
                yield from _check_call(node, at, phase)
                yield from _check_header(node, at)
            case syntax.Select(operand=syntax.Name(name=root), field=key) if root in result_roots():
                if key not in (fields := result_fields(root)):
                    yield Fault(_begin_of(expression.text, at), f"{root} has no {key}{did_you_mean(key, fields)}")


def _check_has(expression: Expression) -> Iterator[Fault]:
    """The compiler takes has(req.url.path) for the variable of that name, which is no truth."""
    for asked in _HAS.finditer(expression.text):
        if (name := re.sub(r"\s", "", asked[1])) in expression.variables and name in variables():
            yield Fault(asked.start(), f"has() is for entries of maps; {name} is always there, maybe empty")


def _check_name(name: str, at: int, phase: Phase, *, retry: bool) -> Iterator[Fault]:
    known = variables()[name]
    if known in RETRY and not retry:
        yield Fault(at, f"{name} is known only in retry_condition of http-request")
    elif known.missing:
        yield Fault(at, f"{name} cannot be had: {known.missing}")
    elif phase not in known.phases:
        yield Fault(at, f"{name} is not known in {phase}, only in {', '.join(known.phases)}")


def _check_call(call: syntax.Call, at: int, phase: Phase) -> Iterator[Fault]:
    known = [function for function in functions() if function.name == call.function]
    if known and not any(phase in function.phases for function in known):
        yield Fault(at, f"{call.function} is not known in {phase}, only in {', '.join(known[0].phases)}")
    match call:
        case syntax.Call(function="matches", arguments=(*_, syntax.Literal(value=str(pattern)))):
            if reason := regex_fault(pattern):
                yield Fault(at, reason)


def regex_fault(pattern: str) -> str:
    """Why a text is no RE2 regular expression, in RE2's words, or nothing."""
    asked = compile_expression("''.matches(vars.pattern)")
    assert isinstance(asked, Expression)
    found = evaluate(asked, {"vars": {"pattern": pattern}})
    return f"is no RE2 regular expression: {found.reason}" if isinstance(found, Failed) else ""


def _check_header(node: syntax.Call, at: int) -> Iterator[Fault]:
    """`req.headers['X-Y']` never finds anything: the map has lower-case names."""
    match node:
        case syntax.Call(
            function="_[_]",
            arguments=(
                syntax.Name(name="req.headers" | "res.headers" | "req.trailers" | "res.trailers" as name),
                syntax.Literal(value=str(key)),
            ),
        ) if key != key.lower():
            yield Fault(at, f"{name} has lower-case names; write {key.lower()!r}", fatal=False)


def _begin_of(text: str, at: int) -> int:
    """The begin of the dotted name that has a character at `at`."""
    return next((match.start() for match in _DOTTED.finditer(text) if match.start() <= at < match.end()), at)


def _faults(text: str, said: str) -> Iterator[Fault]:
    lines = text.split("\n")
    taken: list[range] = []
    for line, column, reason in _ERROR.findall(said):
        number = max(int(line), 1) - 1
        at = sum(len(before) + 1 for before in lines[:number]) + max(int(column) - 1, 0)
        if any(at in span for span in taken):
            continue
        span = _span(text, at)
        fault = Fault(span.start, _reason(text, span, at, reason))
        taken.append(range(span.start, max(span.stop, at) + 1))
        yield fault
        if _UNREAD.search(reason):
            return  # the parser goes on as if the character were not there, and wonders at what follows
    if not _ERROR.search(said):
        yield Fault(0, re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", said.split("\n", 1)[0])[:200])


def _span(text: str, at: int) -> range:
    """The dotted name that has the character at `at`, or ends just before its parenthesis."""
    for match in _DOTTED.finditer(text):
        end = match.end() + (text[match.end() : match.end() + 1] == "(")
        if match.start() <= at < end:
            return range(match.start(), match.end())
    return range(at, at)


def _reason(text: str, span: range, at: int, reason: str) -> str:
    word = re.sub(r"\s", "", text[span.start : span.stop])
    called = text[span.stop : span.stop + 1] == "("
    if (undeclared := _UNDECLARED.search(reason)) or "operand of a select operation" in reason:
        if called:
            return _no_function(word)
        name = word or (undeclared[1] if undeclared else text[at : at + 20])
        return _no_variable(name)
    if overload := _OVERLOAD.search(reason):
        name = _OPERATORS.get(overload[1], overload[1].replace("_", "") if "_" in overload[1][:1] else overload[1])
        return f"{name} does not take {overload[2]}"
    if "has() argument" in reason:
        return "has() takes a field, as in has(vars.name); of a header ask 'name' in req.headers"
    return plain_reason(reason)


def plain_reason(reason: str) -> str:
    """What CEL's parser says of a slip in syntax, in words for people who have not met its grammar."""
    reason = re.sub(r",? expecting .*$| \[[A-Z_]+\]$", "", reason.removeprefix("Syntax error: "))
    if "'<EOF>'" in reason:
        return "something is missing before its end"
    if unread := _UNREAD.search(reason):
        return "= is no operator; == compares" if unread[1].startswith("=") else f"{unread[1]} means nothing here"
    if unwanted := _UNWANTED.search(reason):
        return f"{unwanted[1][:60]} is not expected here"
    return reason[:200]


def _no_function(word: str) -> str:
    names = {function.name for function in functions()} | set(STANDARD)
    if word in names or (last := word.rpartition(".")[2]) in names:
        return f"{word} is not called so; see the list of functions"
    close = did_you_mean(word, names) or did_you_mean(last, names)
    return f"there is no function {word[:60]}{close}"


def _no_variable(word: str) -> str:
    known = [*variables(), *(f"{root}.{key}" for root in result_roots() for key in result_fields(root))]
    if any(name.startswith(f"{word}.") for name in known):
        return f"{word} is no value by itself; name one of its fields"
    return f"there is no variable {word[:60]}{did_you_mean(word, known)}"
