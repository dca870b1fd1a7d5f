"""`secrets.get("vault", "secret")` of policies, filled in just before they are translated, so that they follow changes.

A secret that is not there is left as it was written: the rule that asks for it fails then, and a rule that fails lets
nothing through that it was to stop.
"""

import json
import re
from collections.abc import Callable, Collection
from typing import Any, Final

from portico.policy import syntax
from portico.policy.document import read_policy
from portico.policy.expressions import Expression, compile_expression
from portico.policy.template import parse_template
from portico.policy.text import KeyPath

ValueOf = Callable[[str, str], str | None]
"""Of a vault's and a secret's name."""
_TEXT: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_CALL: Final = re.compile(rf"secrets\s*\.\s*get\s*(?P<open>\()\s*{_TEXT}\s*,\s*{_TEXT}\s*\)")


def with_secrets(policy: str, value_of: ValueOf) -> str:
    """The policy, as `Endpoint.traffic_policy` has it, with the values of its secrets in place of the calls."""
    reading = read_policy(policy)
    expressions = {placed.path for rule in reading.policy.all_rules() for placed in rule.expressions}
    for action in reading.policy.actions():
        expressions |= {reading.written((*action.path, "config", *path)) for path, _ in action.config.expressions()}
    filled = _filled(json.loads(policy), (), expressions, value_of)
    return json.dumps(filled, separators=(",", ":"), ensure_ascii=False)


def missing_secrets(policy: str, value_of: ValueOf) -> list[str]:
    """Those that a policy names and that are not there, as `vault/secret`."""
    gone: list[str] = []

    def look(vault: str, name: str) -> None:
        if value_of(vault, name) is None:
            gone.append(f"{vault}/{name}")

    with_secrets(policy, look)
    return list(dict.fromkeys(gone))


def _filled(value: Any, path: KeyPath, expressions: Collection[KeyPath], value_of: ValueOf) -> Any:
    match value:
        case dict():
            return {key: _filled(one, (*path, key), expressions, value_of) for key, one in value.items()}
        case list():
            return [_filled(one, (*path, number), expressions, value_of) for number, one in enumerate(value)]
        case str() if _CALL.search(value):
            return _in_expression(value, value_of) if path in expressions else _in_template(value, value_of)
    return value


def _in_template(text: str, value_of: ValueOf) -> str:
    try:
        parts = parse_template(text).parts
    except ValueError:  # a text that takes no expressions
        return text
    return "".join(part if isinstance(part, str) else f"${{{_in_expression(part.text, value_of)}}}" for part in parts)


def _in_expression(text: str, value_of: ValueOf) -> str:
    found = compile_expression(text)
    if not isinstance(found, Expression):
        return text
    calls: dict[int, tuple[str, str]] = {}
    for node in found.syntax.walk():
        match node:
            case syntax.Call(
                function="secrets.get", arguments=(syntax.Literal(value=str(vault)), syntax.Literal(value=str(name)))
            ):
                calls[found.syntax.positions[node.id]] = vault, name

    def value(call: re.Match[str]) -> str:
        names = calls.get(call.start("open"))  # none for what only stands in a text
        secret = value_of(*names) if names else None
        return call[0] if secret is None else _literal(secret)

    filled = _CALL.sub(value, text)
    return filled if isinstance(compile_expression(filled), Expression) else text


def _literal(text: str) -> str:
    """A string of CEL, in ASCII without controls, so that neither JSON nor YAML around it minds."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", lambda found: f"\\U{ord(found[0]):08x}", text) + '"'
