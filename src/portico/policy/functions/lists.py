"""Lists, beside what CEL's own macros do with them."""

import json
from typing import Any, Final

from portico.policy.functions.function import Function

_LONGEST: Final = 10_000


def flatten(items: list[Any], depth: int = 1) -> list[Any]:
    """Lists in the list replaced by their items, `depth` times."""
    if depth < 0:
        raise ValueError("the depth of flatten is negative")
    for _ in range(depth):
        if not any(isinstance(item, list) for item in items):
            break
        items = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return items


def part(items: list[Any], start: int, end: int) -> list[Any]:
    """The items from `start` to before `end`."""
    if not 0 <= start <= end <= len(items):
        raise ValueError("slice reaches beyond the list")
    return items[start:end]


def ordered(items: list[Any]) -> list[Any]:
    """Sorted; ValueError where two items cannot be compared."""
    if len({type(item) for item in items}) > 1 or any(isinstance(item, list | dict) for item in items):
        raise ValueError("only items of one comparable type can be sorted")
    return sorted(items)


def distinct(items: list[Any]) -> list[Any]:
    """Each item once, where it came first; equal numbers of different types are different items."""
    found: dict[tuple[type, str], Any] = {}
    for item in items:
        found.setdefault((type(item), json.dumps(item, sort_keys=True, default=repr)), item)
    return list(found.values())


def numbers(count: int) -> list[int]:
    """0 to `count` - 1."""
    if not 0 <= count <= _LONGEST:
        raise ValueError(f"lists.range counts to {_LONGEST} at most")
    return list(range(count))


_LIST: Final = "list<dyn>"
FUNCTIONS: Final = (
    Function("flatten", (_LIST,), _LIST, flatten, "lists in the list replaced by their items", method=True),
    Function("flatten", (_LIST, "int"), _LIST, flatten, "the same so many levels deep", method=True),
    Function("slice", (_LIST, "int", "int"), _LIST, part, "the items from a position to before another", method=True),
    Function("sort", (_LIST,), _LIST, ordered, "the items in order", method=True),
    Function("distinct", (_LIST,), _LIST, distinct, "each item once", method=True),
    Function("lists.range", ("int",), "list<int>", numbers, "the numbers from 0"),
)
