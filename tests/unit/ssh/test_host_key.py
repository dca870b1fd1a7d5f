"""The host key: made once, private, and never replaced by itself."""

from pathlib import Path

import pytest

from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError
from portico.ssh.host_key import load_or_create


def test_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.get_algorithm() == "ssh-ed25519"
    assert load_or_create(path).get_fingerprint() == made.get_fingerprint()


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("no key")
    with pytest.raises(PorticoError, match="is no private key") as caught:
        load_or_create(path)
    assert caught.value.code is DATA_DIR_UNUSABLE
    assert path.read_text() == "no key"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PorticoError, match="No such file"):
        load_or_create(tmp_path / "none" / "key")
