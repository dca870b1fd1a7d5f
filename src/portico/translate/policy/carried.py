"""What a visit must carry from one filter of a policy to the next, and on to its response: only what is read there.

It travels as text in the stream's metadata, and to write and read that costs as much as half a plain request.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from portico.policy.document import Policy, Rule
from portico.policy.expressions import Expression, compile_expression
from portico.policy.syntax import Name, Select
from portico.translate.policy.facts import FACTS
from portico.translate.policy.lua import LuaValue

_RESULTS: Final = "actions.ngrok."
_READ: Final = {
    "getReqHeader": "req.headers",
    "hasReqHeader": "req.headers",
    "getReqCookie": "req.cookies",
    "hasReqCookie": "req.cookies",
    "getQueryParam": "req.url.query_params",
    "hasQueryParam": "req.url.query_params",
}
"""What functions of the request read."""


def carried(policy: Policy) -> Mapping[str, LuaValue]:
    """`request`: variables of the request that the response's rules read; `vars` and `results`: those that any rule
    reads.

    `vars` is true where a name is worked out only when the rule runs.
    """
    everywhere = list(_expressions(policy.all_rules()))
    names = [name for expression in everywhere for name in _vars(expression)]
    results = {name.removeprefix(_RESULTS) for one in everywhere for name in one.variables if name.startswith(_RESULTS)}
    return {
        "request": sorted(_of_request(_expressions(policy.on_http_response))),
        "vars": True if None in names else sorted({name for name in names if name}),
        "results": sorted(results),
    }


def variables_of(policy: Policy) -> frozenset[str]:
    """All variables that its expressions read."""
    return frozenset(name for expression in _expressions(policy.all_rules()) for name in expression.variables)


def _expressions(rules: Iterable[Rule]) -> Iterator[Expression]:
    for text in (text for rule in rules for text in _texts(rule)):
        found = compile_expression(text)
        if isinstance(found, Expression):
            yield found


def _texts(rule: Rule) -> Iterator[str]:
    yield from (placed.text for placed in rule.expressions)
    for action in rule.actions:
        yield from (text for _, text in action.config.expressions())
        yield from (hole.text for _, template in action.config.templates() for hole in template.holes)


def _vars(expression: Expression) -> Iterator[str | None]:
    """The names below `vars` that it reads; None where it reads others, too."""
    whole = {node.id for node in expression.syntax.walk() if node == Name(node.id, "vars")}
    for node in expression.syntax.walk():
        if isinstance(node, Select) and node.operand.id in whole:
            whole.remove(node.operand.id)
            yield node.field
    if whole:
        yield None


def _of_request(expressions: Iterable[Expression]) -> set[str]:
    found = list(expressions)
    named = {name for one in found for name in one.variables if name.startswith("req.") or name in FACTS}
    return named | {_READ[function] for one in found for function in one.functions if function in _READ}
