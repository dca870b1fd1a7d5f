"""Runs a coroutine as a process's main program, on uvloop where it exists."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

SETTLED_SECONDS: Final = 1.0
"""After a start, what can wait until then."""
KEPT_FREE: Final = 16 << 20
"""Bytes that may lie free at the end of the heap."""
MAPPED: Final = 1 << 20
"""Bytes from which memory is the kernel's again as soon as it is free; no buffer of a tunnel is so large."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new event loop and return its result."""
    # Modules and their likes stay: no collection need look at them while visitors wait.
    gc.freeze()
    gc.enable()  # `portico` starts without
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        if sys.platform == "linux":
            runner.get_loop().call_later(SETTLED_SECONDS, keep_freed_memory)
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def keep_freed_memory() -> None:
    """Let glibc keep what buffers leave (mallopt(3)).

    By itself it may give each buffer back to the kernel, which clears every page of the next one: tens of
    thousands of faults for a GiB.
    """
    import ctypes

    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, MAPPED)
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)
