"""ngrok's official Rust crate, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.sdk_commands import CommandChecks
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("Rust", (str(sdk_builds.rust() / "agent"),))


class TestRust(SdkSuite):
    """All of it."""


class TestRustCommands(CommandChecks):
    """What the edge asks of it."""

    update = "update"
