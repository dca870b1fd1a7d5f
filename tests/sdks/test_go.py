"""ngrok's official Go SDK, unmodified, through a real edge."""

import pytest

from kit import sdk_builds
from kit.curl import curl
from kit.edge import RunningEdge
from kit.sdk_commands import CommandChecks
from kit.sdk_examples import ask_example
from kit.sdk_fixtures import Upstreams
from kit.sdk_policies import DENY
from kit.sdk_program import Sdk, SdkError, SdkProgram
from kit.sdk_suite import SdkSuite, assert_saw, at
from kit.whole_lines import records

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
        with sdk.agent(sdk_edge) as other:
            with pytest.raises(SdkError, match="already online"):
                other.forward(at(upstreams.nginx.plain), domain=name, pooling=True)
            agent.ask("update", listener.number, {"pooling": True})
            assert other.forward(at(upstreams.nginx.plain), domain=name, pooling=True).url == listener.url
            assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")

    def test_another_policy_of_a_live_endpoint(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        listener = agent.forward(at(upstreams.nginx.plain))

        def status() -> int:
            return curl(listener.url, sdk_edge.ca).status

        assert status() == 200
        agent.ask("update", listener.number, {"traffic_policy": DENY})
        assert status() == 451
        for wrong in (DENY.replace("deny", "deni"), "on_http_request: ["):
            with pytest.raises(SdkError, match="PORTICO_20005"):
                agent.ask("update", listener.number, {"traffic_policy": wrong})
        assert status() == 451
        agent.ask("update", listener.number, {"traffic_policy": ""})
        assert status() == 200

    def test_a_policy_of_one_in_a_pool(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        name = "agreeing.localhost"
        listener = agent.forward(at(upstreams.nginx.plain), domain=name, pooling=True)
        with sdk.agent(sdk_edge) as other:
            other.forward(at(upstreams.nginx.plain), domain=name, pooling=True)
            with pytest.raises(SdkError, match="all its members must agree"):
                agent.ask("update", listener.number, {"pooling": True, "traffic_policy": DENY})
            assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")

    def test_an_agent_that_wants_several_legs_gets_one(
        self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MULTI_LEG", "1")
        before = _sessions(sdk_edge)
        with sdk.agent(sdk_edge) as program:
            assert_saw(curl(program.forward(at(upstreams.nginx.plain)).url, sdk_edge.ca), proto="HTTP/1.1")
            assert _sessions(sdk_edge) == before + 1


def _sessions(edge: RunningEdge) -> int:
    """How many sessions the edge has seen begin."""
    told = records(edge.log)
    return sum(record["event"] == "session online" and record["process"] == "control" for record in told)


class TestGoCommands(CommandChecks):
    """What the edge asks of it."""

    update = "update"


def test_the_example(sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
    assert_saw(ask_example(sdk_edge, upstreams.nginx.plain, str(sdk_builds.go() / "forward")), proto="HTTP/1.1")
