from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.api import Api, running_api


@pytest.fixture
def api(tmp_path: Path, database: str | None) -> Iterator[Api]:
    with running_api(tmp_path, database) as running:
        yield running
