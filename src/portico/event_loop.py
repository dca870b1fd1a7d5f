"""Runs a coroutine as a process's main program, on uvloop where it exists."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new event loop and return its result."""
    # Modules and their likes stay: no collection need look at them while visitors wait.
    gc.freeze()
    gc.enable()  # `portico` starts without
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
