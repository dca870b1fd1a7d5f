"""What a session tells its driver, in the order in which it happened on the wire."""

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base of all events. msgspec structs cost a quarter of a frozen dataclass to make, and one is made per frame."""


class StreamOpened(Event, frozen=True, gc=False):
    """The peer opened a stream and told its kind, the u32 that every stream begins with."""

    stream: int
    kind: int


class Data(Event, frozen=True, gc=False):
    """Bytes of a stream; give their number to `Session.credit` when they are consumed."""

    stream: int
    data: bytes


class StreamFinished(Event, frozen=True, gc=False):
    """The peer will send no more on this stream; our direction stays open until `Session.finish`."""

    stream: int


class StreamReset(Event, frozen=True, gc=False):
    """The stream is gone in both directions: by the peer, or (`by_peer` False) because the peer broke its rules."""

    stream: int
    code: int
    by_peer: bool


class StreamClosed(Event, frozen=True, gc=False):
    """Both directions have finished and our FIN is on its way."""

    stream: int


class StreamDrained(Event, frozen=True, gc=False):
    """So much of what was queued on the stream has left that its writer may go on (see `Session.send`)."""

    stream: int


class HeartbeatEchoed(Event, frozen=True, gc=False):
    """The peer echoed our beat, `latency` seconds after it was sent."""

    latency: float


class PeerLost(Event, frozen=True, gc=False):
    """Heartbeats say that the peer is dead; the driver should abort the connection."""

    reason: str


class PeerUnresponsive(Event, frozen=True, gc=False):
    """We opened a stream `seconds` ago and the peer has sent nothing at all since then.

    A live peer credits the 4 type bytes at once; a Rust session after `close()` is silent with TCP still open.
    """

    seconds: float


class GoAway(Event, frozen=True, gc=False):
    """The peer ended the session: close the connection at once (the Go SDK waits for that before it reconnects)."""

    code: int
    message: str


class SessionFailed(Event, frozen=True, gc=False):
    """The peer broke the protocol; a GOAWAY with `code` is queued and nothing more is read."""

    code: int
    message: str
