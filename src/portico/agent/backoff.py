"""How long to wait before the next attempt to reach the edge."""

import random
from collections.abc import Callable

FIRST_STEP = 0.25
"""Seconds; the upper end of the first wait after the immediate retry."""
LONGEST_STEP = 30.0
"""Seconds; no wait is longer."""


class Backoff:
    """Seconds before each retry: 0 at first, then full jitter under an upper end that doubles up to `longest`.

    Full jitter (uniform between 0 and the upper end) spreads the agents of an edge that has just returned.
    """

    def __init__(
        self,
        first: float = FIRST_STEP,
        longest: float = LONGEST_STEP,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._attempts = 0

    def next_delay(self) -> float:
        """Seconds to wait before the attempt that follows."""
        attempt, self._attempts = self._attempts, self._attempts + 1
        if attempt == 0:
            return 0.0
        upper = min(self._longest, self._first * 2 ** min(attempt - 1, 30))
        return self._uniform(0.0, upper)

    def reset(self) -> None:
        """An attempt succeeded: the next failure is retried at once."""
        self._attempts = 0
