from pathlib import Path

import pytest

from portico.gate.byte_endpoints import ByteEndpoint, ByteEndpoints

ONE, OTHER = "tcp://edge.test:1", "tls://*.edge.test"


@pytest.fixture
def files(tmp_path: Path) -> ByteEndpoints:
    made = ByteEndpoints(tmp_path / "endpoints")
    made.keep([])
    return made


def known(url: str, policy: str = "") -> ByteEndpoint:
    return ByteEndpoint(url=url, owner="o1", serves=True, policy=policy)


def test_what_is_written_is_read(files: ByteEndpoints) -> None:
    assert files.find(ONE) is None
    files.put(known(ONE))
    files.put(known(OTHER, "{}"))
    assert files.find(ONE) == known(ONE)
    assert files.find(OTHER) == known(OTHER, "{}")
    files.put(known(ONE, "{}"))
    assert files.find(ONE) == known(ONE, "{}")
    for _ in range(2):
        files.remove(ONE)
        assert files.find(ONE) is None
    assert files.find(OTHER)


def test_what_is_no_more_goes(files: ByteEndpoints, tmp_path: Path) -> None:
    files.put(known(ONE))
    files.put(known(OTHER))
    files.keep([OTHER])
    assert files.find(ONE) is None
    assert files.find(OTHER)


def test_others_read_nothing_and_nothing_is_shown(files: ByteEndpoints, tmp_path: Path) -> None:
    files.put(known(ONE, "hunter22"))
    (path,) = (tmp_path / "endpoints").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "hunter22" not in repr(known(ONE, "hunter22"))
