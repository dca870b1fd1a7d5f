"""ngrok's official Python SDK, unmodified, through a real edge."""

import sys
from pathlib import Path

import pytest

from kit.sdk_commands import CommandChecks
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite

PROGRAM = Path(__file__).parents[1] / "sdks" / "python" / "agent.py"


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("Python", (sys.executable, str(PROGRAM)), {"pooling": "version 1.4.0 has no option for pooling"})


class TestPython(SdkSuite):
    """All of it."""


class TestPythonCommands(CommandChecks):
    """What the edge asks of it."""
