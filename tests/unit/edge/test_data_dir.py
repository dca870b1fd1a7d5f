import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.edge.data_dir import MAX_SOCKET_NAME, DataDir
from portico.model.errors import DATA_DIR_UNUSABLE, PorticoError


def refusal(path: Path) -> PorticoError:
    with pytest.raises(PorticoError) as caught:
        DataDir.open(path)
    assert caught.value.code is DATA_DIR_UNUSABLE
    return caught.value


def test_a_new_data_directory_is_private(tmp_path: Path) -> None:
    with DataDir.open(tmp_path / "new" / "edge") as data_dir:
        assert data_dir.path.stat().st_mode & 0o777 == 0o700
        assert data_dir.run_dir.stat().st_mode & 0o777 == 0o700


def test_one_edge_at_a_time_holds_it(tmp_path: Path) -> None:
    with DataDir.open(tmp_path):
        error = refusal(tmp_path)
        assert f"in use by another running edge (process {os.getpid()})" in error.message
        assert "--data-dir" in error.fix
    DataDir.open(tmp_path).close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose own `run` has room for sockets; pytest's may be too long."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def test_a_killed_edge_holds_nothing_and_leaves_no_socket(short_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from portico.edge.data_dir import DataDir
data_dir = DataDir.open(Path({str(short_path)!r}))
(data_dir.run_dir / "stale.sock").touch()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert (short_path / "run" / "stale.sock").exists()
    with DataDir.open(short_path) as data_dir:
        assert list(data_dir.run_dir.iterdir()) == []


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    data_dir = DataDir.open(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        data_dir.close()
        DataDir.open(tmp_path).close()
    finally:
        child.communicate(b"\n", timeout=60)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "File exists" in refusal(tmp_path / "file").message
    assert "Not a directory" in refusal(tmp_path / "file" / "below").message


def test_a_directory_without_write_access_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "Permission denied" in refusal(tmp_path).message


def test_a_directory_that_the_system_does_not_let_anybody_write_is_refused() -> None:
    assert "/proc" in refusal(Path("/proc/portico")).message


def test_a_long_path_moves_the_sockets_to_a_short_private_directory(tmp_path: Path) -> None:
    long_path = tmp_path / ("x" * 100)
    with DataDir.open(long_path) as data_dir:
        run_dir = data_dir.run_dir
        assert not run_dir.is_relative_to(long_path)
        assert run_dir.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(run_dir / ("s" * MAX_SOCKET_NAME)))
    assert not run_dir.exists()


def test_no_room_for_sockets_anywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_temporary = tmp_path / ("y" * 100)
    long_temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long_temporary))
    error = refusal(tmp_path / ("x" * 100))
    assert "too long for Unix sockets" in error.message
    assert list(long_temporary.iterdir()) == []
