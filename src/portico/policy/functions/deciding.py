"""Whether an expression is evaluated to decide, or to explain what would be decided."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_DECIDES: Final[ContextVar[bool]] = ContextVar("what is evaluated decides", default=False)


@contextmanager
def deciding() -> Iterator[None]:
    """While it lasts, chance is chance, and a secret that was not filled in is not there."""
    token = _DECIDES.set(True)
    try:
        yield
    finally:
        _DECIDES.reset(token)


def decides() -> bool:
    """Whether it lasts."""
    return _DECIDES.get()
