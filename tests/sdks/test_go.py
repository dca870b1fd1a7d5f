"""ngrok's official Go SDK, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.curl import curl
from kit.edge import RunningEdge
from kit.sdk_commands import CommandChecks
from kit.sdk_fixtures import Upstreams
from kit.sdk_program import Sdk, SdkError, SdkProgram
from kit.sdk_suite import DENY, SdkSuite, assert_saw, at

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

    def test_update_of_a_live_endpoint(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        name = "updated.localhost"
        listener = agent.forward(at(upstreams.nginx.plain), domain=name)
        with pytest.raises(SdkError, match="traffic policies"):
            agent.ask("update", listener.number, {"pooling": True, "traffic_policy": DENY})
        with sdk.agent(sdk_edge) as other:
            with pytest.raises(SdkError, match="already online"):
                other.forward(at(upstreams.nginx.plain), domain=name, pooling=True)
            agent.ask("update", listener.number, {"pooling": True})
            assert other.forward(at(upstreams.nginx.plain), domain=name, pooling=True).url == listener.url
            assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")


class TestGoCommands(CommandChecks):
    """What the edge asks of it."""

    update = "update"
