"""Values of any shape with interpolated texts in them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from portico.policy.effects import Scene
from portico.policy.template import Template, parse_template

Nested = object
"""None, a truth, a number, a Template, a tuple of Nested, or a mapping of texts to Nested."""
_DEEPEST: Final = 32


def nested(value: Any, depth: int = 0) -> Nested:
    """`value` with its texts taken apart. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested deeper than {_DEEPEST} levels")
    match value:
        case str():
            return parse_template(value)
        case None | bool() | int() | float() | Template():
            return value
        case list() | tuple():
            return tuple(nested(item, depth + 1) for item in value)
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("has a key that is no text")
            return MappingProxyType({key: nested(item, depth + 1) for key, item in value.items()})
        case _:
            raise ValueError("has a value that is neither text nor number, truth, list or map")


def nested_map(value: Any) -> Mapping[str, Nested]:
    """The same of a mapping alone."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping of keys to values")  # noqa: TRY004  (what pydantic gathers)
    found = nested(value)
    assert isinstance(found, Mapping)
    return found


def filled(value: Nested, scene: Scene) -> Any:
    """Plain, with the values of its expressions. Raises UnfilledError."""
    match value:
        case Template():
            return scene.filled(value)
        case tuple():
            return [filled(item, scene) for item in value]
        case Mapping():
            return {key: filled(item, scene) for key, item in value.items()}
        case _:
            return value
