"""ngrok's official JavaScript SDK, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.sdk_commands import CommandChecks
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("JavaScript", ("node", str(sdk_builds.javascript() / "agent.mjs")))


class TestJavaScript(SdkSuite):
    """All of it."""


class TestJavaScriptCommands(CommandChecks):
    """What the edge asks of it."""
