"""The edge's data directory: made private, held by one edge at a time, with a place for Unix sockets."""

import fcntl
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError

log = logging.getLogger(__name__)

MAX_SOCKET_PATH: Final = 107
"""Bytes of `sun_path` on Linux without its closing NUL (unix(7))."""
MAX_SOCKET_NAME: Final = 36
"""Bytes kept free below the run directory: `<relay>/<number>.sock`, and `hot_udp_parent_` with Envoy's 20 digits."""


@dataclass(slots=True)
class DataDir:
    """An open data directory. One process holds it; close it (or leave the `with`) to give it free."""

    path: Path
    run_dir: Path
    """Directory of the node's Unix sockets, mode 0700, empty at the start, with a path short enough."""
    _lock: int

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the directory where it is missing (mode 0700) and take hold of it.

        Raises PorticoError(DATA_DIR_UNUSABLE): not a directory, no write access, or held by another running edge.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            _take(lock, path)
            run_dir = _make_run_dir(path)
        except OSError as error:
            os.close(lock)
            raise _unusable(path, error) from None
        except BaseException:
            os.close(lock)
            raise
        return cls(path, run_dir, lock)

    def close(self) -> None:
        """Remove the run directory and let the next edge have the data directory."""
        shutil.rmtree(self.run_dir, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        raise PorticoError(
            DATA_DIR_UNUSABLE,
            f"{path} is in use by another running edge (process {holder})",
            fix="Stop that edge, or give this one its own --data-dir.",
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def _make_run_dir(data_dir: Path) -> Path:
    """`<data-dir>/run`, or a private directory with a short path where that is too long for a socket."""
    run_dir = data_dir / "run"
    # Sockets that a killed edge left behind: the lock says that nobody serves them.
    shutil.rmtree(run_dir, ignore_errors=True)
    if not _has_room(run_dir):
        run_dir = Path(tempfile.mkdtemp(prefix="portico-"))
        if not _has_room(run_dir):
            run_dir.rmdir()
            raise PorticoError(
                DATA_DIR_UNUSABLE,
                f"the paths {data_dir} and {run_dir.parent} are too long for Unix sockets",
                fix="Choose a --data-dir, or set TMPDIR, with a path of fewer than 70 bytes.",
            )
        log.info(
            "sockets are kept outside of the data directory, whose path is too long", extra={"run_dir": str(run_dir)}
        )
        return run_dir
    run_dir.mkdir(mode=0o700)
    return run_dir


def _has_room(directory: Path) -> bool:
    return len(os.fsencode(directory)) + 1 + MAX_SOCKET_NAME <= MAX_SOCKET_PATH


def _unusable(path: Path, error: OSError) -> PorticoError:
    return PorticoError(DATA_DIR_UNUSABLE, f"cannot use {path}: {error.strerror}")
