"""Fixtures that several folders of tests share."""

from collections.abc import Iterator

import pytest

from kit.edge import RunningEdge, running_edge


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """A real edge for the tests of one module."""
    with running_edge(tmp_path_factory.mktemp("edge")) as running:
        yield running
