"""What is wrong with a policy, and where: gathered, never raised, so that an author sees everything at once."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad: an error refuses the policy, a warning means that it will not do what it says, a note is advice."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A line and a column, both from 1; both 0 where a policy arrived as an object and has no text."""

    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Neither `text` nor `place` ever repeats a value that could be a secret."""

    severity: Severity
    mark: Mark
    place: str
    """Such as `on_http_request[0].actions[1].config.headers`; empty for the whole."""
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


def did_you_mean(word: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """`; did you mean …?` with the nearest of `known`, or nothing."""
    by_letters = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_letters, n=1, cutoff=cutoff)
    return f"; did you mean {by_letters[near[0]]}?" if near else ""
