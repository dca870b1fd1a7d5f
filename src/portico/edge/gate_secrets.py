"""What the gate seals sessions with; control writes it, for the supervisor has nothing of the store."""

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portico.atomic_file import PRIVATE, write_atomically
from portico.edge.gate import SECRETS_FILE
from portico.store.signing_keys import COOKIES
from portico.store.store import Store


def write_gate_secrets(store: Store, run_dir: Path) -> None:
    """Tell the gate what it seals sessions with: the same on every node that shares the store, and for nothing else."""
    with store.read() as unit:
        secret = unit.signing_keys.find(COOKIES)
    if secret is None:
        raise LookupError("the store has no signing key; the first start makes it")
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"sessions of the gate").derive(secret)
    write_atomically(run_dir / SECRETS_FILE, derived.hex() + "\n", mode=PRIVATE)
