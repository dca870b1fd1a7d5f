"""The bounds of a relay: what one agent, or somebody who is none, can make it hold."""

from typing import Final

AUTH_SECONDS: Final = 10.0
"""From the connection to the Auth request; how long its answer takes is control's matter."""
SILENT: Final = 4_096
"""Connections that have not sent their Auth yet; a further one is refused."""
AUTH_BYTES: Final = 1 << 16
"""The Auth request."""
REQUEST_BYTES: Final = 1 << 20
"""One request of an agent; a Bind may carry PEM chains."""
BINDS: Final = 12_000
"""Binds of one session; how many an owner may have is control's matter."""
STREAMS: Final = 8_192
"""Visitors at a time through one session."""
UNSEEN: Final = 1_024
"""Streams of which an agent has said that their upstream was not reached; their visitors ask within moments."""
LEGS: Final = 16
"""Connections of one session."""
LEG_REST_SECONDS: Final = 20.0
"""How long a further connection may go without visitors: each is a descriptor here and two in Envoy."""
MOVE_SECONDS: Final = 60.0
"""How long an agent may take to come by another way."""
MOVES_A_SECOND: Final = 100
"""Agents that are asked to, so that their handshakes leave room for visitors."""
RUST_STREAMS: Final = 480
"""ngrok's Rust SDKs drop the whole session beyond 512 streams, heartbeats and requests included."""
HEARTBEAT_SECONDS: Final = (1.0, 600.0)
"""Bounds of an announced heartbeat interval, and of its tolerance."""
STREAM_ATTEMPTS: Final = 4
"""ngrok's Go SDK resets a stream when its accept queue is full; a visitor is offered again so often."""
STREAM_RETRY_SECONDS: Final = 0.05
"""Pause before the first new attempt; it doubles."""
COMMAND_SECONDS: Final = 4.0
"""ngrok's Go SDK leaves a Stop without a handler unanswered; less than control waits for us."""
