"""Texts, beside what CEL's extension for strings does."""

from typing import Final

from portico.policy.functions.function import Function

FUNCTIONS: Final = (
    Function("lower", ("string",), "string", str.lower, "letters in lower case", method=True),
    Function("upper", ("string",), "string", str.upper, "letters in upper case", method=True),
)
