"""The edge's host key: made at the first start and kept, for clients remember it."""

from pathlib import Path

import asyncssh

from portico.atomic_file import PRIVATE, write_atomically
from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError


def load_or_create(path: Path) -> asyncssh.SSHKey:
    """The Ed25519 key in `path` (mode 0600). Raises PorticoError(DATA_DIR_UNUSABLE); a damaged one is not replaced."""
    try:
        if not path.exists():
            key = asyncssh.generate_private_key("ssh-ed25519", comment="portico")
            write_atomically(path, key.export_private_key().decode("ascii"), mode=PRIVATE)
        return asyncssh.read_private_key(str(path))
    except OSError as error:
        raise PorticoError(DATA_DIR_UNUSABLE, f"cannot use {path}: {error.strerror}") from None
    except asyncssh.KeyImportError as error:
        raise PorticoError(
            DATA_DIR_UNUSABLE,
            f"{path} is no private key: {error}",
            fix="Restore the file, or remove it to get a new key (clients will warn of the change).",
        ) from None
