"""Pure: the functions of expressions beside CEL's own, each with what it computes.

Names and meanings follow https://ngrok.com/docs/traffic-policy/macros/. One family is one module; `functions()` is all
of them. A function that depends on the visit (a header, a secret) answers from the values that `messages.visit` holds.
"""

from functools import cache

from portico.policy.functions import addresses, encodings, hashes, lists, messages, numbers, strings
from portico.policy.functions.function import Function
from portico.policy.functions.standard import STANDARD


@cache
def functions() -> tuple[Function, ...]:
    """All of them, by family."""
    families = (encodings, messages, hashes, lists, numbers, strings, addresses)
    return tuple(function for family in families for function in family.FUNCTIONS)


__all__ = ["STANDARD", "Function", "functions"]
