"""What a policy does to one visit: the scene that actions change, and the end that some of them bring."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from portico.policy.expressions import Expression, Failed, compile_expression, evaluate
from portico.policy.functions.encodings import to_json
from portico.policy.functions.messages import HIDDEN
from portico.policy.phases import Phase
from portico.policy.template import Hole, Template


class End(StrEnum):
    """How a visit may end for its visitor."""

    RESPONSE = "response"
    CLOSED = "closed"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the visitor gets instead of the upstream."""

    kind: End
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    to: str = ""
    """The internal endpoint of a FORWARDED visit."""
    passed_on: bool = False
    """Whether the rules of the response see this RESPONSE, as they see an upstream's."""

    def __str__(self) -> str:
        match self.kind:
            case End.CLOSED:
                return "the connection is closed"
            case End.FORWARDED:
                return f"forwarded to {self.to}"
        location = self.headers.get("location", "")
        return f"{self.status} redirect to {location}" if location else f"{self.status}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one action did, in words, and the end if it brought one."""

    text: str
    ending: Ending | None = None
    assumed: bool = False
    """Whether the words are an assumption about the world outside (a key server, a counter, a person)."""


CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header's value has (RFC 9110, 5.5)."""


class UnfilledError(Exception):
    """An expression of a configuration failed; the message says which and why."""


@dataclass(slots=True)
class Scene:
    """One visit on its way through a policy."""

    values: dict[str, Any]
    """Variables by whole name."""
    phase: Phase = Phase.TCP_CONNECT
    assumed: bool = False
    """Whether an action has come before that may have left more than is known here."""
    is_there: Callable[[str], object] | None = None
    """Finds an internal endpoint by URL, if it is online; None where that is assumed."""
    logged: dict[str, Any] = field(default_factory=dict)
    """What is to be written to the access log."""

    def fill(self, template: Template) -> str:
        """The text with its expressions' values. Raises UnfilledError."""
        try:
            return "".join(part if isinstance(part, str) else self.fill_hole(part) for part in template.parts)
        except UnfilledError:
            if template.hidden:  # its expressions are as secret as it is
                raise UnfilledError("an expression of a secret failed") from None
            raise

    def field(self, template: Template) -> str:
        """The value of a header. Raises UnfilledError, for one that could end its line, too (RFC 9110, 5.5)."""
        value = self.fill(template)
        if CONTROLS.search(value):
            raise UnfilledError("a header has no control characters")
        return value

    def fill_hole(self, hole: Hole) -> str:
        """The text that an expression of a template gives. Raises UnfilledError."""
        return _text(self.value(hole.text))

    def filled(self, template: Template) -> Any:
        """The same, but of `${…}` alone the value as it is. Raises UnfilledError."""
        return self.value(template.alone.text) if template.alone else self.fill(template)

    def value(self, text: str) -> Any:
        """The value of an expression. Raises UnfilledError."""
        expression = compile_expression(text)
        if not isinstance(expression, Expression):
            raise UnfilledError(f"{text[:60]}: {expression[0].text}")
        found = evaluate(expression, self.values)
        if isinstance(found, Failed):
            raise UnfilledError(f"{text[:60]}: {found.reason}")
        try:
            to_json(found)
        except ValueError as error:
            raise UnfilledError(f"{text[:60]}: {error}") from None
        return found

    def result(self, action: str, fields: Mapping[str, Any]) -> None:
        """Leave what an action found for later rules."""
        self.values[f"actions.ngrok.{action}"] = dict(fields)

    @property
    def headers(self) -> dict[str, list[str]]:
        """The headers of the message that this phase is about, to be changed."""
        name = "res.headers" if self.phase is Phase.HTTP_RESPONSE else "req.headers"
        found = self.values.setdefault(name, {})
        assert isinstance(found, dict)
        return found

    def text(self, name: str) -> str:
        """A variable that is a text; empty where it is not known."""
        found = self.values.get(name, "")
        return found if isinstance(found, str) else ""


def _text(value: Any) -> str:
    """A value inside a longer text."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else to_json(value)


def shown(template: Template, scene: Scene, *, typed: bool) -> Any:
    """What may be printed of a filled template: nothing of a secret."""
    if template.hidden:
        return HIDDEN
    try:
        return scene.filled(template) if typed else scene.fill(template)
    except UnfilledError as error:
        return f"({error})"
