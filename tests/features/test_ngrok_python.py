"""ngrok's official Python SDK, unmodified, through a real edge."""

import sys

import pytest

from kit.edge import RunningEdge
from kit.sdk_builds import EXAMPLES, SOURCES
from kit.sdk_commands import CommandChecks
from kit.sdk_examples import ask_example
from kit.sdk_fixtures import Upstreams
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite, assert_saw


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk(
        "Python",
        (sys.executable, str(SOURCES / "python" / "agent.py")),
        {"pooling": "version 1.4.0 has no option for pooling"},
    )


class TestPython(SdkSuite):
    """All of it."""


class TestPythonCommands(CommandChecks):
    """What the edge asks of it."""


def test_the_example(sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
    assert_saw(
        ask_example(sdk_edge, upstreams.nginx.plain, sys.executable, str(EXAMPLES / "forward.py")), proto="HTTP/1.1"
    )
