"""Pure: the functions of expressions beside CEL's own, each with what it computes.

Names and meanings follow https://ngrok.com/docs/traffic-policy/macros/. One family is one module; `functions()` is all
of them. A function that depends on the visit (a header, a secret) answers from the values that `messages.visit` holds.
"""

from functools import cache

from portico.policy.functions import addresses, encodings, hashes, lists, messages, numbers, strings
from portico.policy.functions.function import Function


@cache
def functions() -> tuple[Function, ...]:
    """All of them, by family."""
    families = (encodings, messages, hashes, lists, numbers, strings, addresses)
    return tuple(function for family in families for function in family.FUNCTIONS)


STANDARD = {
    "has": "whether a map has an entry: `has(vars.name)`",
    "size": "number of characters, bytes, items or entries",
    "matches": "whether an RE2 regular expression is found: `req.host.matches('…')`",
    "startsWith": "whether a text begins so",
    "endsWith": "whether a text ends so",
    "contains": "whether a text has another one in it",
    "all": "whether something holds for all items: `list.all(x, x > 0)`",
    "exists": "whether it holds for an item",
    "exists_one": "whether it holds for exactly one item",
    "filter": "the items for which it holds",
    "map": "a new list of what each item becomes; with three arguments only of the items for which the second holds",
    "charAt": "the character at a position",
    "format": "printf-style text: `'%s: %d'.format([a, b])`",
    "indexOf": "first position of a text in another, or -1",
    "join": "the texts of a list as one",
    "lastIndexOf": "last position of a text in another, or -1",
    "lowerAscii": "ASCII letters in lower case",
    "replace": "a text with another in the place of a third",
    "reverse": "the characters in reverse order",
    "split": "the parts of a text between separators",
    "strings.quote": "a text in quotes, with escapes",
    "substring": "the characters from a position, or between two",
    "trim": "a text without white space at its ends",
    "upperAscii": "ASCII letters in upper case",
    "bool": "conversion",
    "bytes": "conversion",
    "double": "conversion",
    "duration": "a duration: `duration('1h30m')`",
    "dyn": "a value whose type is looked at only when it is there",
    "int": "conversion",
    "string": "conversion",
    "timestamp": "a time: `timestamp('2026-01-02T03:04:05Z')`",
    "type": "the type of a value",
    "uint": "conversion",
    "getDate": "day of the month, from 1; this and the next ones take a time zone, too",
    "getDayOfMonth": "day of the month, from 0",
    "getDayOfWeek": "day of the week, Sunday is 0",
    "getDayOfYear": "day of the year, from 0",
    "getFullYear": "year",
    "getHours": "hours of a time or of a duration",
    "getMilliseconds": "milliseconds of a time or of a duration",
    "getMinutes": "minutes of a time or of a duration",
    "getMonth": "month, from 0",
    "getSeconds": "seconds of a time or of a duration",
}
"""What CEL and its extension for strings bring along."""

__all__ = ["STANDARD", "Function", "functions"]
