"""What carries a visitor to the upstream."""

from typing import Protocol

from portico.model.errors import ErrorCode
from portico.relay.figures import Figures
from portico.relay.link import BindLease
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import ProxyInfo


class Carriage(Protocol):
    """What carries one visitor: a stream of an agent's session, or a channel of an SSH connection."""

    def write(self, data: bytes) -> None:
        """Send bytes to the upstream."""

    def write_eof(self) -> None:
        """The visitor sends no more."""

    def pause_reading(self) -> None:
        """Take no more of the upstream's bytes."""

    def resume_reading(self) -> None:
        """Take them again."""

    def abandon(self) -> None:
        """Let go of it; its handler's `connection_lost` follows."""


class Carrier(Protocol):
    """What a visitor needs of the session that carries it."""

    figures: Figures
    mark: str
    """Response header in which Envoy awaits the number of our own pages' errors."""

    def open_proxy(self, lease: BindLease, address: ProxyInfo, first: bytes, handler: StreamHandler) -> Carriage:
        """Carry a visitor from `address`, whose bytes begin with `first`.

        Raises PorticoError(STREAM_LIMIT or SESSION_CLOSED).
        """

    @property
    def alive(self) -> bool:
        """Whether the session still carries streams."""

    def unseen(self, carriage: Carriage) -> bool:
        """Whether the agent has just said that the upstream saw nothing of what was sent here; asked once."""

    def failure(self, bind: str) -> tuple[ErrorCode, str] | None:
        """What the agent has just said about a failure of the bind's upstream, if anything."""
