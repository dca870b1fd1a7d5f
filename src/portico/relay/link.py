"""What a relay and control say to each other, over a Unix socket inside one edge node.

Each message is one JSON object behind a big-endian u32 length. A relay connects (and reconnects for ever), says `Hello`
with every session and bind it still holds, and then asks; control answers with `Reply` under the same `id`, and may
command at any time. A relay decides nothing: it hands the agent's JSON on and does what the answer says. It keeps the
`lease` values that control gave it and returns them in `Hello`, so that a restarted control knows all that is live.
"""

import signal
import struct
from typing import Final, Generic, TypeVar

import msgspec

from portico.model.errors import PorticoError, all_codes

type_field = "type"
REPLACED: Final = "replaced"
"""The reason of a CloseSession by which the agent's next session has taken over already."""
MOVE_SIGNAL: Final = signal.SIGURG
"""The supervisor's word that another Envoy has taken over. A relay that is starting, without sessions, ignores it."""
MAX_MESSAGE: Final = 64 << 20
"""Bytes of one message: a Hello of 10,000 binds with their leases stays far below it."""
_LENGTH: Final = struct.Struct(">I")


class SessionLease(msgspec.Struct, kw_only=True):
    """One live session: its id, and what control wants back after a restart (opaque to the relay)."""

    session: str
    remote: str
    lease: dict[str, object]
    heartbeat_interval: float
    """Seconds between beats."""
    heartbeat_tolerance: float
    """Seconds of silence beyond the interval that end the session."""


class BindLease(msgspec.Struct, kw_only=True):
    """One live bind, with all that the relay needs to serve it."""

    session: str
    bind: str
    """The id that the agent knows the bind by; the agent's own on a re-bind."""
    address: str
    """Path of the Unix socket that the relay serves for it."""
    proto: str
    """http, https, tls or tcp: the `Proto` of proxy headers."""
    url: str
    edge_type: str = "0"
    """`EdgeType` of proxy headers: 0 for binds, 1 tcp, 2 tls, 3 https for labelled tunnels."""
    passthrough_tls: bool = False
    proxy_protocol: int = 0
    """PROXY protocol version (1, 2) to write before the visitor's bytes; 0 for none."""
    visitor_address: bool = False
    """Whether connections to the socket begin with a PROXY v2 header that tells the visitor's address."""
    http: int = 0
    """HTTP version that Envoy speaks on the socket (1 or 2); 0 where the bytes are not HTTP."""
    websocket_bytes: bool = False
    """Whether visitors come by WebSockets, whose messages are the stream's bytes; the socket's HTTP is 1.1 then."""
    lease: dict[str, object]


class Hello(msgspec.Struct, tag="hello", tag_field=type_field):
    """First message of a relay on each connection: everything that it holds."""

    relay: str
    pid: int
    sessions: list[SessionLease]
    binds: list[BindLease]


class Authenticate(msgspec.Struct, tag="auth", tag_field=type_field):
    """An agent's Auth. `leg` sessions of one ClientId live side by side."""

    id: int
    session: str
    remote: str
    body: dict[str, object]


class SshCheck(msgspec.Struct, tag="ssh_check", tag_field=type_field):
    """Whether a credential offered over SSH may open a session: an `SHA256:` fingerprint, or an authtoken.

    The answer's `body` is empty where it may.
    """

    id: int
    fingerprint: str = ""
    authtoken: str = ""


class SshAuthenticate(msgspec.Struct, tag="ssh_auth", tag_field=type_field):
    """An SSH connection has proved that it holds the credential: it wants its session."""

    id: int
    session: str
    remote: str
    user_agent: str
    fingerprint: str = ""
    authtoken: str = ""


class SshForward(msgspec.Struct, tag="ssh_forward", tag_field=type_field):
    """One `-R` of an SSH connection; the relay already listens on `address`."""

    id: int
    session: str
    address: str
    host: str
    """As it was asked for; empty where it was not."""
    port: int
    """As it was asked for; 0 leaves the choice to the edge."""
    body: dict[str, object]
    """The remote command (`ssh/command.py`)."""


class Bind(msgspec.Struct, tag="bind", tag_field=type_field):
    """An agent's Bind (`labelled` False) or StartTunnelWithLabel; the relay already listens on `address`."""

    id: int
    session: str
    address: str
    labelled: bool
    body: dict[str, object]


class Unbind(msgspec.Struct, tag="unbind", tag_field=type_field):
    """The agent ended a bind; the answer's `body` goes to the agent. Idempotent."""

    id: int
    session: str
    bind: str


class Patch(msgspec.Struct, tag="patch", tag_field=type_field):
    """An agent's PatchTunnelState."""

    id: int
    session: str
    body: dict[str, object]


class ServerInfo(msgspec.Struct, tag="srv_info", tag_field=type_field):
    """An agent's SrvInfo."""

    id: int
    session: str


class SessionEnded(msgspec.Struct, tag="session_ended", tag_field=type_field):
    """A session is over, with all its binds."""

    session: str
    reason: str


class Figures(msgspec.Struct, tag="figures", tag_field=type_field):
    """Answer to `Collect`: counters and gauges by name, e.g. `streams_opened_total`."""

    id: int
    values: dict[str, float]


class Reply(msgspec.Struct, tag="reply", tag_field=type_field):
    """Control's answer: `body` is the RPC response to send as it is; the leases are set where the request succeeded."""

    id: int
    body: dict[str, object]
    session: SessionLease | None = None
    bind: BindLease | None = None


class CloseSession(msgspec.Struct, tag="close_session", tag_field=type_field):
    """End a session now; `replaced` where its own successor took over (no SessionEnded is awaited)."""

    session: str
    reason: str


class StopBind(msgspec.Struct, tag="stop_bind", tag_field=type_field):
    """Tell the agent that a bind ended (StopTunnel), stop serving its socket and cut its streams."""

    session: str
    bind: str
    message: str
    error_code: str


class AgentCommand(msgspec.Struct, tag="agent_command", tag_field=type_field):
    """Send a Stop, Restart or Update request to an agent; its answer returns in `AgentAnswer`."""

    id: int
    session: str
    command: str
    body: dict[str, object]


class AgentAnswer(msgspec.Struct, tag="agent_answer", tag_field=type_field):
    """What the agent said to an `AgentCommand`; `error` is empty on success and tells a missing answer too."""

    id: int
    error: str


class Collect(msgspec.Struct, tag="collect", tag_field=type_field):
    """Ask a relay for its figures."""

    id: int


class Drain(msgspec.Struct, tag="drain", tag_field=type_field):
    """The node is stopping: accept no session, end each idle one, then exit within `grace` seconds."""

    grace: float


SshQuestion = SshCheck | SshAuthenticate | SshForward
FromRelay = (
    Hello | Authenticate | Bind | Unbind | Patch | ServerInfo | SshQuestion | SessionEnded | Figures | AgentAnswer
)
FromControl = Reply | CloseSession | StopBind | AgentCommand | Collect | Drain

M = TypeVar("M")


def refusal(error: PorticoError) -> dict[str, object]:
    """The `body` of a Reply to an SSH question that is refused; agents' refusals are in their protocol's own form."""
    return {"Code": error.code.number, "Message": error.message, "Fix": error.fix}


def raise_refusal(body: dict[str, object]) -> None:
    """Raise the PorticoError that `refusal` made `body` of, if it did."""
    if "Code" in body:
        code = next(code for code in all_codes() if code.number == body["Code"])
        raise PorticoError(code, str(body["Message"]), fix=str(body["Fix"]))


class LinkError(Exception):
    """What arrived on the link is no message; the connection is of no use any more."""


def pack(message: FromRelay | FromControl) -> bytes:
    """`message` as it goes over the link."""
    body = msgspec.json.encode(message)
    return _LENGTH.pack(len(body)) + body


class MessageReader(Generic[M]):
    """Cuts received bytes into messages of one direction: `MessageReader(FromControl)` is a relay's."""

    def __init__(self, messages: object) -> None:
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(messages)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[M]:
        """The messages that `data` completes, in order. Raises LinkError."""
        self._buffer += data
        messages: list[M] = []
        start = 0
        while len(self._buffer) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_MESSAGE:
                raise LinkError(f"a message of {length} bytes is longer than {MAX_MESSAGE}")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(self._decode(bytes(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return messages

    def _decode(self, body: bytes) -> M:
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            # msgspec's text names the place of the fault and never repeats a value, so no secret of a Bind is in it.
            raise LinkError(f"not a message of the link: {error}") from None
