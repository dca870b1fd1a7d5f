"""The constant chains of the https listener."""

from portico.model.edge import EdgeFrame, SocketAddress
from portico.relay.limits import HEARTBEAT_SECONDS
from portico.translate import names
from portico.translate.chains import listener_chains

FRAME = EdgeFrame("edge.test", SocketAddress("127.0.0.1", 443), None, "127.0.0.1", ("/a",), "/api", "x-m")


def test_no_agent_that_beats_is_silent_for_too_long() -> None:
    """A dead one whose kernel still answers is let go, though bytes wait for it."""
    (chain,) = (chain for chain in listener_chains(FRAME) if chain["name"] == names.CONNECT_CHAIN)
    idle = chain["filters"][-1]["typed_config"]["idle_timeout"]
    _, longest = HEARTBEAT_SECONDS
    assert float(idle.removesuffix("s")) > 2 * longest
