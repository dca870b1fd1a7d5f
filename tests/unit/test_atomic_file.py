from pathlib import Path

import pytest

from portico.atomic_file import PRIVATE, PUBLIC, write_atomically


def test_a_file_is_made_or_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old and long")
    path.chmod(0o666)
    write_atomically(path, "néw", mode=PRIVATE)
    assert path.read_text("utf-8") == "néw"
    assert path.stat().st_mode & 0o777 == PRIVATE
    write_atomically(path, "all", mode=PUBLIC)
    assert path.stat().st_mode & 0o777 == PUBLIC
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "directory", "text", mode=PRIVATE)
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
