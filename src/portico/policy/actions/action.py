"""What every action is: an immutable value that knows its phases, its results and what it does to a visit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase
from portico.policy.template import Template

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Likeness(StrEnum):
    """How an action's language compares with ngrok's."""

    SAME = "same"
    BETTER = "better"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Compared:
    """With ngrok: in one word, and what differs."""

    likeness: Likeness = Likeness.SAME
    how: str = ""


class Fields(BaseModel):
    """A group of keys that users write: unknown ones are refused, camelCase is read as snake_case."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _in_snake_case(cls, values: Any) -> Any:
        """Kubernetes writes keys so; what the keys of a map are called is its author's matter."""
        if not isinstance(values, dict):
            return values
        found: dict[Any, Any] = {}
        for key, value in values.items():
            name = snake(key) if isinstance(key, str) and snake(key) in cls.key_names() else key
            if name in found:
                raise ValueError(f"has {name} twice")
            found[name] = value
        return found

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys as users write them."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class ActionConfig(Fields):
    """One action, configured."""

    TYPE: ClassVar[str]
    PHASES: ClassVar[tuple[Phase, ...]]
    MEANING: ClassVar[str]
    KEEPS_TYPES: ClassVar[bool] = False
    """Whether `${…}` alone keeps the type of its value; elsewhere it becomes text."""
    COMPARED: ClassVar[Compared] = Compared()

    def ends(self) -> bool:
        """Whether no rule and no action comes after it, whatever the request."""
        return False

    def stops(self) -> bool:
        """Whether it may keep a request from its upstream: then an error in its rule's expressions refuses the request.

        forward-internal does not: it is how requests are routed, and one that it passes over comes to the next rule.
        """
        return False

    def act(self, scene: Scene) -> Effect:
        """What it does to the visit, as far as that can be said without the world outside."""
        raise NotImplementedError

    def templates(self) -> Iterator[tuple[tuple[str | int, ...], Template]]:
        """Every text with interpolation, and where in the configuration it stands."""
        yield from _templates(self, ())

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Fields that are expressions themselves, without `${}`."""
        yield from ()


def snake(key: str) -> str:
    """`onTcpConnect` as `on_tcp_connect`."""
    return _CAPITAL.sub("_", key).lower()


def _templates(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Template]]:
    if isinstance(value, Template):
        yield path, value
    elif isinstance(value, Fields):
        for name, field in type(value).model_fields.items():
            yield from _templates(getattr(value, name), (*path, field.alias or name))
    elif hasattr(value, "items"):
        for key, item in value.items():
            yield from _templates(item, (*path, str(key)))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _templates(item, (*path, number))


def inner_model(annotation: Any) -> type[Fields] | None:
    """The model among the parts of an annotation, for the names of its keys."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, Fields) else None
    return next((found for part in get_args(annotation) if (found := inner_model(part))), None)
