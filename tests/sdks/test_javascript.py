"""ngrok's official JavaScript SDK, unmodified, through a real edge."""

import subprocess

import pytest

from kit import sdk_builds
from kit.edge import RunningEdge
from kit.sdk_commands import CommandChecks
from kit.sdk_examples import ask_example
from kit.sdk_fixtures import Upstreams
from kit.sdk_program import Sdk
from kit.sdk_suite import SdkSuite, assert_saw

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk("JavaScript", ("node", str(sdk_builds.javascript() / "agent.mjs")))


class TestJavaScript(SdkSuite):
    """All of it."""


class TestJavaScriptCommands(CommandChecks):
    """What the edge asks of it."""


def test_the_example(sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
    assert_saw(
        ask_example(sdk_edge, upstreams.nginx.plain, "node", str(sdk_builds.javascript() / "forward.mjs")),
        proto="HTTP/1.1",
    )


REFUSED = """
import ngrok from "@ngrok/ngrok";
const target = { authtoken: process.env.PORTICO_AUTHTOKEN, server_addr: process.env.PORTICO_CONNECT_URL };
try {
  await ngrok.forward({ ...target, root_cas: process.env.PORTICO_CONNECT_CAS, domain: "api.localhost" });
} catch (error) {
  console.log(error.errorCode);
}
process.exit(0);
"""


def test_forward_tells_the_code_of_a_refusal(sdk_edge: RunningEdge) -> None:
    command = ["node", "--input-type=module", "-e", REFUSED]
    done = subprocess.run(
        command, cwd=sdk_builds.javascript(), env=sdk_edge.agent_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "ERR_NGROK_320"
