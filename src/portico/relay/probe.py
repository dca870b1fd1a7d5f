"""A check by connection: whether the agent reaches the upstream, since a bind's own socket takes every connection."""

import asyncio
from collections.abc import Callable
from typing import Final

from portico.model.errors import PorticoError
from portico.relay.carriage import Carriage, Carrier
from portico.relay.link import BindLease
from portico.tunnel.handler import StreamHandler
from portico.tunnel.proxy_protocol import ProxyInfo

SILENCE_SECONDS: Final = 0.5
"""Agents say nothing of a success, but a failure within a round trip and the dial: this long a silence is a success."""


class Probe(StreamHandler):
    """One stream without a visitor, dropped as soon as it is known what becomes of it."""

    __slots__ = ("_carrier", "_stream", "_timer", "_verdict")

    def __init__(self, carrier: Carrier, lease: BindLease, verdict: Callable[[bool], None]) -> None:
        """`verdict` hears once whether the upstream is reached, unless this is dropped before."""
        self._carrier = carrier
        self._verdict: Callable[[bool], None] | None = verdict
        self._stream: Carriage | None = None
        loop = asyncio.get_running_loop()
        try:
            self._stream = carrier.open_proxy(lease, ProxyInfo(), b"", self)
        except PorticoError:
            self._timer = loop.call_later(0, self._decide, False)
        else:
            self._timer = loop.call_later(SILENCE_SECONDS, self._decide, True)

    def data_received(self, data: bytes) -> None:
        """The upstream speaks first."""
        self._decide(True)

    def eof_received(self) -> None:
        """The agent has no upstream for it, or one that closes at once."""
        self._decide(False)

    def connection_lost(self, code: int | None) -> None:
        """The same, or the session is over."""
        self._carrier.figures.streams -= 1
        self._decide(False)

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._verdict = None
        self._timer.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()

    def _decide(self, reached: bool) -> None:
        verdict = self._verdict
        if verdict is not None:
            self.drop()
            verdict(reached)
