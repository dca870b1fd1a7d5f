"""ngrok's official Rust crate, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.edge import RunningEdge
from kit.sdk_commands import CommandChecks
from kit.sdk_examples import ask_example
from kit.sdk_fixtures import Upstreams
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite, assert_saw

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("Rust", (str(sdk_builds.rust() / "agent"),))


class TestRust(SdkSuite):
    """All of it."""


class TestRustCommands(CommandChecks):
    """What the edge asks of it."""

    update = "update"


def test_the_example(sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
    assert_saw(ask_example(sdk_edge, upstreams.nginx.plain, str(sdk_builds.rust() / "forward")), proto="HTTP/1.1")
