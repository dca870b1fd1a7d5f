"""How long to wait before the next attempt to reach the edge."""

import random
from collections.abc import Callable

FIRST_STEP = 0.25
"""Seconds; the upper end of the first wait after the immediate retry."""
EAGER_STEP = 0.5
"""Seconds; no wait of an eager attempt is longer."""
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
        eager: int = 0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`eager`: how many attempts are made before the upper end passes EAGER_STEP; what is away may only stumble."""
        self._eager = eager
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._attempts = 0

    def next_delay(self) -> float:
        """Seconds to wait before the attempt that follows."""
        attempt, self._attempts = self._attempts, self._attempts + 1
        if attempt == 0:
            return 0.0
        if attempt <= self._eager:
            upper = min(EAGER_STEP, self._first * 2 ** (attempt - 1))
        else:
            upper = min(self._longest, self._first * 2 ** min(attempt - max(self._eager - 1, 1), 30))
        return self._uniform(0.0, upper)

    def reset(self) -> None:
        """An attempt succeeded: the next failure is retried at once."""
        self._attempts = 0
