"""Waiting for what is to come, without asserting how long it takes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0


def eventually(look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `look` returns, once it is true and raises nothing; its last failure after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        failure: Exception
        try:
            if seen := look():
                return seen
            failure = AssertionError(f"still {seen!r}")
        except Exception as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(0.02)
