"""The JSON of the agent protocol as typed values: what each RPC asks and answers (ngrok's names on the wire).

Keys are matched without regard to case and null means absent, as SDKs differ in both (`AuthToken`, `Authtoken`).
Unknown keys are dropped, except in a bind's `opts`, which are kept as they came: the answer has to echo them. Tokens
and keys are in no `repr`.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Annotated, ClassVar, Final, Self, TypeAlias, get_args

import msgspec

from portico.tunnel.frames import ErrorCode, ProtocolError
from portico.tunnel.json_reader import MAX_JSON, parse_object

NANOSECONDS: Final = 1_000_000_000
Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What Go's numbers are; JSON has larger ones, of which no seconds can be made."""


class StreamKind(IntEnum):
    """The u32 that begins each stream."""

    AUTH = 0
    BIND = 1
    UNBIND = 2
    PROXY = 3
    RESTART = 4
    STOP = 5
    UPDATE = 6
    START_TUNNEL_WITH_LABEL = 7
    SRV_INFO = 8
    STOP_TUNNEL = 9
    PATCH_TUNNEL_STATE = 10
    UPSTREAM_FAILED = 0x504F5254
    """Portico's own: an agent tells why a proxy stream is about to end with nothing."""
    JOIN = 0x504F5255
    """Portico's own: the first request of a connection that joins the session of a token."""
    MOVE = 0x504F5256
    """Portico's own: the edge asks for a connection on another way, which takes the session over."""
    HEARTBEAT = 0xFFFFFFFF


class Message(msgspec.Struct, kw_only=True, frozen=True, rename="pascal"):
    """Base of all messages."""

    shown: ClassVar[tuple[str, ...]] = ()
    """The fields that `repr` may show."""

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> Self:
        """The typed value of a decoded object. Raises ProtocolError, which names the field and never its value."""
        try:
            return msgspec.convert(_fold(cls, raw), cls, strict=False)
        except msgspec.ValidationError as error:
            raise ProtocolError(ErrorCode.PROTOCOL, f"{cls.__name__}: {error}") from None

    def to_json(self) -> dict[str, object]:
        """The object to send, with plain values."""
        value: dict[str, object] = msgspec.to_builtins(self)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.shown)})"


@cache
def _names(cls: type[Message]) -> dict[str, tuple[str, type[Message] | None]]:
    names = {}
    for field in msgspec.structs.fields(cls):
        nested = next((t for t in (field.type, *get_args(field.type)) if _is_message(t)), None)
        names[field.encode_name.lower()] = (field.encode_name, nested)
    return names


def _is_message(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def _fold(cls: type[Message], raw: Mapping[str, object]) -> dict[str, object]:
    names, folded = _names(cls), {}
    for key, value in raw.items():
        name, nested = names.get(key.lower(), (None, None))
        if name is not None and value is not None:
            folded[name] = _fold(nested, value) if nested is not None and isinstance(value, dict) else value
    return folded


class AuthExtra(Message, kw_only=True, frozen=True):
    """What an agent tells of itself."""

    shown = ("user_agent", "client_type", "version", "leg_number")
    os: str = msgspec.field(default="", name="OS")
    arch: str = ""
    authtoken: str = msgspec.field(default="", name="AuthToken")
    version: str = ""
    hostname: str = ""
    user_agent: str = ""
    metadata: str = ""
    cookie: str = ""
    heartbeat_interval: Int64 = 10 * NANOSECONDS
    """Nanoseconds."""
    heartbeat_tolerance: Int64 = 15 * NANOSECONDS
    """Nanoseconds."""
    update_unsupported_error: str | None = None
    """"" where supported, a text why not, None for agents older than the question; so for the next two."""
    stop_unsupported_error: str | None = None
    restart_unsupported_error: str | None = None
    proxy_type: str = ""
    mutual_tls: bool = msgspec.field(default=False, name="MutualTLS")
    service_run: bool = False
    config_version: str = ""
    custom_interface: bool = False
    custom_cas: bool = msgspec.field(default=False, name="CustomCAs")
    client_type: str = ""
    leg_number: int = 0
    window: int = 0
    """Portico's own: bytes in flight on a stream that the agent would like (`flow.WIDE`); ngrok's agents send none."""


class Auth(Message, kw_only=True, frozen=True):
    """The first request of every session; `client_id` is empty but on a reconnect."""

    shown = ("version", "client_id", "extra")
    version: list[str] = msgspec.field(default_factory=lambda: ["3", "2"])
    client_id: str = ""
    extra: AuthExtra = AuthExtra()


class AuthRespExtra(Message, kw_only=True, frozen=True):
    """What the edge tells of itself."""

    shown = ("version", "region", "agent_session_id")
    version: str = ""
    region: str = ""
    cookie: str = ""
    account_name: str = ""
    session_duration: int = 0
    plan_name: str = ""
    banner: str = ""
    deprecation_warning: dict[str, object] | None = None
    connect_addresses: list[dict[str, object]] | None = None
    agent_session_id: str = msgspec.field(default="", name="AgentSessionID")


class AuthResp(Message, kw_only=True, frozen=True):
    """Rust SDKs want `Version` and `ClientId` even in a refusal."""

    shown = ("version", "client_id", "error", "extra")
    version: str = "3"
    client_id: str = ""
    error: str = ""
    extra: AuthRespExtra = AuthRespExtra()


class TlsTermination(Message, kw_only=True, frozen=True):
    """PEM of the certificate and key to end TLS with at the edge; both empty ask for an automatic certificate."""

    cert: bytes = msgspec.field(default=b"", name="cert")
    key: bytes = msgspec.field(default=b"", name="key")


class MutualTls(Message, kw_only=True, frozen=True):
    """PEM of the authorities that visitors' certificates must come from."""

    mutual_tls_ca: bytes = msgspec.field(default=b"", name="mutual_tls_ca")


class BindOptions(Message, kw_only=True, frozen=True):
    """What a bind's `opts` say, whatever its protocol. Inner objects have snake_case keys; None is off."""

    shown = ("url", "domain", "hostname", "subdomain", "addr", "proxy_proto")
    url: str = msgspec.field(default="", name="URL")
    domain: str = ""
    hostname: str = ""
    subdomain: str = ""
    addr: str = ""
    proxy_proto: int = 0
    auth: str = ""
    host_header_rewrite: bool = False
    local_url_scheme: str = ""
    mutual_tls_at_agent: bool = msgspec.field(default=False, name="MutualTLSAtAgent")
    tls_termination: TlsTermination | None = msgspec.field(default=None, name="TLSTermination")
    mutual_tls_at_edge: MutualTls | None = msgspec.field(default=None, name="MutualTLSAtEdge")
    """Of tls binds."""
    mutual_tls_ca: MutualTls | None = msgspec.field(default=None, name="MutualTLSCA")
    """Of http binds."""
    compression: dict[str, object] | None = None
    circuit_breaker: dict[str, object] | None = None
    ip_restriction: dict[str, object] | None = msgspec.field(default=None, name="IPRestriction")
    basic_auth: dict[str, object] | None = None
    oauth: dict[str, object] | None = msgspec.field(default=None, name="OAuth")
    oidc: dict[str, object] | None = msgspec.field(default=None, name="OIDC")
    webhook_verification: dict[str, object] | None = None
    request_headers: dict[str, object] | None = None
    response_headers: dict[str, object] | None = None
    websocket_tcp_converter: dict[str, object] | None = msgspec.field(default=None, name="WebsocketTCPConverter")
    user_agent_filter: dict[str, object] | None = None
    traffic_policy: str | dict[str, object] = ""
    policy: str | dict[str, object] = ""
    """Older SDKs' place for the traffic policy."""


class BindExtra(Message, kw_only=True, frozen=True):
    """The rest of a bind."""

    shown = ("name", "bindings", "pooling_enabled")
    name: str = ""
    token: str = ""
    """The edge's, given back on a reconnect."""
    ip_policy_ref: str = msgspec.field(default="", name="IPPolicyRef")
    metadata: str = ""
    description: str = ""
    bindings: list[str] = msgspec.field(default_factory=list)
    pooling_enabled: bool = False
    pool_weight: int = 1
    """Portico's own: this bind's share of the pool's load beside the others'; ngrok's agents say nothing of it."""


class Bind(Message, kw_only=True, frozen=True):
    """Asks for an endpoint; `id` is empty but on a reconnect."""

    shown = ("id", "proto", "forwards_to", "forwards_proto")
    id: str = ""
    proto: str
    forwards_to: str = ""
    forwards_proto: str = ""
    opts: dict[str, object] = msgspec.field(default_factory=dict)
    """As they came; `options` reads them."""
    extra: BindExtra = BindExtra()

    @property
    def options(self) -> BindOptions:
        """The typed `opts`. Raises ProtocolError."""
        return BindOptions.from_json(self.opts)


class BindRespExtra(Message, kw_only=True, frozen=True):
    """What the agent keeps for a reconnect."""

    shown = ("tunnel_id",)
    token: str = ""
    tunnel_id: str = msgspec.field(default="", name="TunnelID")


class BindResp(Message, kw_only=True, frozen=True):
    """Rust SDKs read `opts` into their own type and send them again on a reconnect: echo them, the name filled in."""

    shown = ("id", "url", "proto", "error")
    id: str = ""
    url: str = msgspec.field(default="", name="URL")
    proto: str = ""
    opts: dict[str, object] = msgspec.field(default_factory=dict)
    error: str = ""
    extra: BindRespExtra = BindRespExtra()


class StartTunnelWithLabel(Message, kw_only=True, frozen=True):
    """Asks to serve the endpoint that the edge has for these labels."""

    shown = ("labels", "forwards_to")
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    forwards_to: str = ""
    forwards_proto: str = ""
    metadata: str = ""


class StartTunnelWithLabelResp(Message, kw_only=True, frozen=True):
    """The id of the bind that was made."""

    shown = ("id", "error")
    id: str = ""
    error: str = ""


class Unbind(Message, kw_only=True, frozen=True):
    """Ends a bind; Rust SDKs send it two or three times."""

    shown = ("id",)
    id: str


class UnbindResp(Message, kw_only=True, frozen=True):
    """Both fields are always sent."""

    shown = ("error",)
    error: str = ""
    extra: dict[str, object] | None = None


class PatchTunnelState(Message, kw_only=True, frozen=True, omit_defaults=True):
    """Changes what may change of a bind; None is unchanged."""

    shown = ("tunnel_id", "pooling_enabled")
    tunnel_id: str
    description: str | None = None
    metadata: str | None = None
    pooling_enabled: bool | None = None
    traffic_policy: str | None = None
    """The whole new policy; empty for none."""


class SrvInfo(Message, kw_only=True, frozen=True):
    """Asks where the edge is."""


class SrvInfoResp(Message, kw_only=True, frozen=True):
    """Where the edge is."""

    shown = ("region",)
    region: str = ""


class Stop(Message, kw_only=True, frozen=True):
    """Asks the agent to stop."""


class Restart(Message, kw_only=True, frozen=True):
    """Asks the agent to start anew."""


class Update(Message, kw_only=True, frozen=True):
    """Asks the agent to update itself; Rust SDKs want both fields."""

    shown = ("version", "permit_major_version")
    version: str = ""
    permit_major_version: bool = False


class ErrorResp(Message, kw_only=True, frozen=True):
    """The answer to PatchTunnelState, Stop, Restart and Update; empty text is success."""

    shown = ("error",)
    error: str = ""


class StopTunnel(Message, kw_only=True, frozen=True):
    """Tells the agent that a bind has ended; nobody answers."""

    shown = ("id", "message", "error_code")
    id: str
    message: str = ""
    error_code: str = ""


class Join(Message, kw_only=True, frozen=True):
    """Portico's own: one more connection for a session; the token came with the answer to Auth."""

    token: str = ""
    take_over: bool = False
    """Whether requests and new visitors go here alone from now on: the answer to a Move."""


class UpstreamFailed(Message, kw_only=True, frozen=True):
    """An agent could not reach the upstream for the proxy stream of this bind; no answer.

    Sent just before the stream ends.
    """

    shown = ("id", "code", "reason")
    id: str
    code: int
    """Number of the error, as in model.errors."""
    reason: str = ""
    stream: int = 0
    """The proxy stream on the same connection, where its upstream was never reached; 0 where it may have seen some."""


class ProxyHeader(Message, kw_only=True, frozen=True):
    """Stands before a visitor's bytes. Rust SDKs want all five fields and `edge_type` as text."""

    shown = ("id", "client_addr", "proto", "edge_type", "passthrough_tls")
    id: str
    client_addr: str = ""
    """`ip:port` of the visitor, IPv6 in brackets."""
    proto: str = ""
    edge_type: str = "0"
    passthrough_tls: bool = msgspec.field(default=False, name="PassthroughTLS")

    def encode(self) -> bytes:
        """The bytes that follow the stream's kind: the one little-endian number of the protocol, and JSON."""
        body = msgspec.json.encode(self)
        return _LENGTH.pack(len(body)) + body


_LENGTH: Final = struct.Struct("<q")


class ProxyHeaderReader:
    """Reads a proxy header in any split; what follows it is `rest`."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take bytes; returns the header once it is whole. Raises ProtocolError."""
        self._buffer += data
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if not 0 < length <= MAX_JSON:
            raise ProtocolError(ErrorCode.PROTOCOL, f"a proxy header of {length} bytes")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        self.rest = self._buffer[end:]
        return ProxyHeader.from_json(parse_object(self._buffer[_LENGTH.size : end]))


def field(raw: Mapping[str, object], name: str) -> object:
    """One value of an object that is passed on as it came, its key matched without regard to case; None if absent."""
    wanted = name.lower()
    return next((value for key, value in raw.items() if key.lower() == wanted), None)
