"""The connections of one session: the one that it began with, and those that its agent has added since.

On one connection a lost segment holds up every stream for a round trip; our own agents add connections where visitors
are many and the edge is far away (`agent/legs.py`). Those that no visitor needs any more are closed here, by the side
that opens the streams: no visitor can be on his way through one.
"""

import asyncio
import secrets

from portico.model.errors import STREAM_LIMIT, PorticoError
from portico.relay import limits
from portico.tunnel.frames import ErrorCode
from portico.tunnel.transport import OnStream, SessionProtocol


class Legs:
    """What opens streams for visitors. The token, told to the agent alone, lets a connection join."""

    def __init__(self, first: SessionProtocol, on_stream: OnStream) -> None:
        """`on_stream` is asked for each stream that the agent opens on a further connection."""
        self.token = secrets.token_hex(16)
        self._on_stream = on_stream
        self._protocols = [first]
        self._retiring: list[SessionProtocol] = []
        """Those that get no new visitors, and end with those whom they carry."""
        self._used: set[SessionProtocol] = set()
        """Those that came, or were given a visitor, since the last look at who rests."""
        self._looking: asyncio.TimerHandle | None = None

    @property
    def moved(self) -> int:
        """Bytes in both directions so far, of the connections that are there now."""
        return sum(protocol.bytes_received + protocol.bytes_sent for protocol in self._protocols + self._retiring)

    def add(self, protocol: SessionProtocol) -> None:
        """Take one more. Raises PorticoError(STREAM_LIMIT)."""
        if len(self._protocols) >= limits.LEGS:
            raise PorticoError(STREAM_LIMIT, f"a session has {limits.LEGS} connections at most")
        protocol.give(self._on_stream, lambda _: self.remove(protocol))
        self._protocols.append(protocol)
        self._used.add(protocol)
        if self._looking is None:
            self._look_later()

    def take_over(self, protocol: SessionProtocol) -> None:
        """Let `protocol` be the first, and the only one that new visitors go to."""
        self._retiring += self._protocols
        self._protocols = [protocol]

    def retire(self) -> None:
        """Close those that were there before, each when its last stream has ended."""
        for protocol in list(self._retiring):
            protocol.retire("another connection has taken over")

    def least_loaded(self) -> SessionProtocol:
        """Where the next visitor goes. Raises PorticoError(STREAM_LIMIT)."""
        protocols = self._protocols
        if len(protocols) == 1:
            return protocols[0]
        if sum(protocol.session.own_streams for protocol in protocols) >= limits.STREAMS:
            raise PorticoError(STREAM_LIMIT, f"{limits.STREAMS} streams are open already")
        chosen = min(protocols, key=lambda protocol: protocol.session.own_streams)
        self._used.add(chosen)
        return chosen

    def close(self, reason: str) -> None:
        """End all but the first."""
        if self._looking is not None:
            self._looking.cancel()
        further, self._protocols, self._retiring = self._protocols[1:] + self._retiring, self._protocols[:1], []
        for protocol in further:
            protocol.close(ErrorCode.NONE, reason)

    def remove(self, protocol: SessionProtocol) -> None:
        """Forget one that has ended."""
        for protocols in (self._protocols, self._retiring):
            if protocol in protocols:
                protocols.remove(protocol)

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(limits.LEG_REST_SECONDS, self._look)

    def _look(self) -> None:
        """Close those that no visitor came to since the last look, and that none is on."""
        self._looking = None
        resting = [one for one in self._protocols[1:] if one not in self._used and not one.streams]
        self._used.clear()
        for protocol in resting:
            self._protocols.remove(protocol)
            self._retiring.append(protocol)
            protocol.retire("no visitor needs this connection")
        if len(self._protocols) > 1:
            self._look_later()
