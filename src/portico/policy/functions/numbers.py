"""Random numbers. While a policy is explained, they are the middle of their range."""

import random
from typing import Final

from portico.policy.functions.deciding import decides
from portico.policy.functions.function import Function


def middle() -> float:
    """What `rand.double()` gives."""
    return random.random() if decides() else 0.5  # noqa: S311 - no secret


def between(low: int = 0, high: int = 1) -> int:
    """What `rand.int` gives."""
    if not 0 <= low <= high:
        raise ValueError("rand.int takes two numbers from 0, the smaller one first")
    return random.randint(low, high) if decides() else (low + high) // 2  # noqa: S311 - no secret


_MEANING: Final = "a random whole number, both ends included; 0 or 1 where nothing is said"
FUNCTIONS: Final = (
    Function("rand.double", (), "double", middle, "a random number from 0 to 1", steady=False),
    Function("rand.int", (), "int", between, _MEANING, steady=False),
    Function("rand.int", ("int", "int"), "int", between, _MEANING, steady=False),
)
