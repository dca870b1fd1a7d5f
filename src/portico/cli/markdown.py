"""Pieces of Markdown that the reference is made of."""

import inspect
from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


def prose(text: str) -> Iterator[str]:
    """The lines of an indented text, and an empty one."""
    yield from inspect.cleandoc(text).splitlines()
    yield ""
