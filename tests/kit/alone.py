"""Work that one process of tests does while the others wait for it."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Nobody else is in this directory meanwhile, which is made if it is not there; ends with the process at last."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
