"""Texts of a configuration with expressions in them: `Hello ${req.host}`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from portico.policy.expressions import Expression, Fault, compile_expression


@dataclass(frozen=True, slots=True)
class Hole:
    """`${…}`: an expression and where its text begins in the template."""

    offset: int
    text: str

    @property
    def expression(self) -> Expression:
        """Compiled; only templates that have been checked are asked."""
        found = compile_expression(self.text)
        assert isinstance(found, Expression)
        return found


@dataclass(frozen=True, slots=True)
class Template:
    """A text with holes. `hidden` where it is a secret: it is never shown then, not even in a repr."""

    text: str = field(repr=False)
    parts: tuple[str | Hole, ...] = field(repr=False)
    hidden: bool = False

    def __str__(self) -> str:
        return "••••••" if self.hidden else self.text

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The expressions, in order."""
        return tuple(part for part in self.parts if isinstance(part, Hole))

    @property
    def literal(self) -> str | None:
        """The text, if it has no holes."""
        return None if self.holes else self.text

    @property
    def alone(self) -> Hole | None:
        """The hole, if the template is that and nothing else; its value then keeps its type."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Hole) else None

    def compiled(self) -> Iterator[tuple[Hole, Expression | tuple[Fault, ...]]]:
        """Each hole with what became of it."""
        return ((hole, compile_expression(hole.text)) for hole in self.holes)


def parse_template(text: str, *, hidden: bool = False) -> Template:
    """Take it apart. Raises ValueError for a `${` without its brace."""
    parts: list[str | Hole] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        end = _closing(text, start + 2)
        if end is None:
            raise ValueError(f"the ${{ at character {start + 1} has no closing brace")
        if start > at:
            parts.append(text[at:start])
        parts.append(Hole(start + 2, text[start + 2 : end]))
        at = end + 1
    if at < len(text) or not parts:
        parts.append(text[at:])
    return Template(text, tuple(parts), hidden)


def _closing(text: str, at: int) -> int | None:
    """The brace that ends an expression: not one in a string, nor one of a map."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character in "'\"":
            ended = _end_of_string(text, at)
            if ended is None:
                return None
            at = ended
            continue
        if character == "}" and depth == 0:
            return at
        depth += (character == "{") - (character == "}")
        at += 1
    return None


def _end_of_string(text: str, at: int) -> int | None:
    """Behind the string literal of CEL that begins at `at`: raw, with escapes, or in three quotes."""
    quote = text[at : at + 3] if text[at : at + 3] in ("'''", '"""') else text[at]
    raw = text[at - 1 : at] in ("r", "R")
    at += len(quote)
    while at < len(text):
        if text.startswith(quote, at):
            return at + len(quote)
        at += 2 if text[at] == "\\" and not raw else 1
    return None
