"""Fixtures that several folders of tests share."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kit.edge import RunningEdge, running_edge

pytest_plugins = ["kit.postgres", "kit.sdk_fixtures", "kit.sdk_commands", "kit.rows_fixtures"]
pytest.register_assert_rewrite("kit.sdk_suite")

# A busy machine is no fault of what is tested. As in hypothesis' own profile for CI, a change is judged by the same
# examples each time; on developers' machines and in `make fuzz` they are drawn anew.
settings.register_profile(
    "portico", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("portico")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of `kit.rows` known, and Ctrl-C heard."""
    config.addinivalue_line("markers", "row(*numbers): rows of docs/acceptance.md that the test shows")
    # A background job of a shell ignores Ctrl-C, and so would what tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """A real edge for the tests of one module."""
    with running_edge(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A directory for an Envoy, shorter than `tmp_path`: the path of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="pe", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
