"""The first start of an edge: an owner, an authtoken and an API key, so that it can be used at once."""

from pathlib import Path
from typing import Final

from portico.atomic_file import PRIVATE, write_atomically
from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError
from portico.model.owner import DEFAULT_OWNER
from portico.store.signing_keys import COOKIES
from portico.store.store import Store
from portico.store.tables import FIRST_START
from portico.store.tokens import new_api_key, new_authtoken

AUTHTOKEN_FILE: Final = "authtoken"
API_KEY_FILE: Final = "api-key"


def first_start(store: Store, data_dir: Path) -> bool:
    """Make the first credentials and write them to `authtoken` and `api-key` (mode 0600); True where this was it.

    Later starts leave everything as it is: the files are never made again, and the tokens stay valid without them.
    Raises PorticoError(DATA_DIR_UNUSABLE).
    """
    with store.write() as unit:
        # The owner or his tokens may be removed some day, and must not return; the signing key stays.
        if unit.signing_keys.find(COOKIES) is not None:
            return False
        unit.signing_keys.add(COOKIES)
        owner = unit.owners.add(DEFAULT_OWNER, source=FIRST_START)
        authtoken, api_key = new_authtoken(), new_api_key()
        unit.authtokens.add(owner.id, authtoken, source=FIRST_START, description="made at the first start")
        unit.api_keys.add(owner.id, api_key, source=FIRST_START, description="made at the first start")
        # Before the commit: a crash in between leaves files that the next start replaces, not a token nobody knows.
        for name, token in ((AUTHTOKEN_FILE, authtoken), (API_KEY_FILE, api_key)):
            _write(data_dir / name, token)
    return True


def _write(path: Path, token: str) -> None:
    try:
        write_atomically(path, f"{token}\n", mode=PRIVATE)
    except OSError as error:
        raise PorticoError(DATA_DIR_UNUSABLE, f"cannot write {path}: {error.strerror}") from None
