"""ngrok's official Go SDK, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.sdk_commands import CommandChecks
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite

pytestmark = pytest.mark.timeout(1200)

LACKS = {
    "edge-tls": "version 2 ends TLS at the agent, or at the edge by a traffic policy",
    "labelled": "version 2 has no labelled tunnels",
    "host-header": "version 2 has no option for it",
    "modules": "version 2 has none of the older modules",
    "half-close": "it closes both directions at the first end (`join` in its forwarder.go)",
    "unbind-after-stop": "it does not answer to an endpoint's end",
    "h2c": "it speaks HTTP/1.1 to upstreams without TLS, whatever protocol is asked for",
}


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("Go", (str(sdk_builds.go() / "agent"),), LACKS)


class TestGo(SdkSuite):
    """All of it. Only `tcp://` upstreams get the bytes as they came, PROXY header included."""

    pass_through = "tcp"
    proxied = "tcp"


class TestGoCommands(CommandChecks):
    """What the edge asks of it."""

    update = "update"
