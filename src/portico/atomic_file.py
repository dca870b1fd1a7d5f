"""Writes a file so that a reader, or a crash, meets either the old content or the new, and never with a laxer mode."""

import os
import tempfile
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_atomically(path: Path, text: str, *, mode: int) -> None:
    """Make or replace `path`. Raises OSError."""
    # mkstemp makes the file with mode 0600, so a secret is never readable by others in between.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if mode != PRIVATE:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """The new name survives a power cut only once the directory itself is on disk. Windows opens no directories."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
