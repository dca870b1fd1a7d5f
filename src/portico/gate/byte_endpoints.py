"""The endpoints of tcp and tls whose policies the gate decides by, and those such policies may lead to: a file each.

Control writes them before Envoy is told of an endpoint. So a policy changes without a change of Envoy's listeners,
whose connections go on, and the gate decides while control is away.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from portico.atomic_file import PRIVATE, write_atomically

DIRECTORY: Final = "byte-endpoints"
"""In the run directory."""
_SUFFIX: Final = ".json"


class ByteEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate has to know of an endpoint. The policy may have secrets in it."""

    url: str
    owner: str
    """Id of whose it is: policies lead to endpoints of the same owner alone."""
    serves: bool
    """Whether something stands behind it: where its policy ends nothing, bytes pass."""
    policy: str = ""
    """As `Endpoint.traffic_policy`."""

    def __repr__(self) -> str:
        return f"ByteEndpoint({self.url})"


class ByteEndpoints:
    """The files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, endpoint: ByteEndpoint) -> None:
        """From now on this is so. Raises OSError."""
        path = self._path(endpoint.url)
        content = msgspec.json.encode(endpoint).decode()
        if not path.exists() or path.read_text() != content:
            write_atomically(path, content, mode=PRIVATE)

    def remove(self, url: str) -> None:
        """From now on there is no such endpoint. Idempotent."""
        self._path(url).unlink(missing_ok=True)

    def keep(self, urls: Iterable[str]) -> None:
        """Remove all others. Makes the directory where there is none."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        wanted = set(map(self._path, urls))
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def find(self, url: str) -> ByteEndpoint | None:
        """What is known of `url`. Raises msgspec.DecodeError for a file that nobody of ours wrote."""
        path = self._path(url)
        with contextlib.suppress(FileNotFoundError):
            written = path.stat()
            return _read(path, written.st_ino, written.st_mtime_ns)
        return None

    def _path(self, url: str) -> Path:
        return self._directory / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}{_SUFFIX}"


@lru_cache(1024)
def _read(path: Path, _inode: int, _written_ns: int) -> ByteEndpoint:
    return msgspec.json.decode(path.read_bytes(), type=ByteEndpoint)
